"""The clients that users hold, blocking and asyncio, and what both share.

The package itself and `_command` import it.
"""
