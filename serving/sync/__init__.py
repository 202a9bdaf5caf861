"""`python3 -m serving.sync`: copy one published model version from the bucket to local disk.

An init container of its own; shares only `logs` with the server.
"""
