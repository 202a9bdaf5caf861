"""The platform's programs and images: found, downloaded, or built once and kept in the cache.

`local.kubernetes` and `local.stack` import it.
"""
