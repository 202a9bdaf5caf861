"""`python3 -m serving.gateway`: a page and form fields for people, TLS and token for REST.

Its own process beside the model server; shares only `logs`, `errors` and `authentication` with it.
"""
