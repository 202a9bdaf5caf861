"""How requests reach a server: gRPC or REST, blocking or asyncio, and encryption."""
