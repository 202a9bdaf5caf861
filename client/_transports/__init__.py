"""How requests reach a server: gRPC or REST, blocking or asyncio, and encryption.

`_calls` imports it; `_command` and the package itself need nothing of it but `tls`.
"""
