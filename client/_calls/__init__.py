"""The clients that users hold, blocking and asyncio, and what both share."""
