"""Where requests come in: gRPC, REST, and what both ask of every caller.

For `server`. A request goes on to `wire`, which reads it, and to `predict`.
"""
