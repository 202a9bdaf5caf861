"""The stack `local` on the platform, and the predictions that `make up` ends with.

The platform and its commands import it.
"""
