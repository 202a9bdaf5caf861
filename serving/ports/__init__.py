"""Where requests come in: gRPC and REST, and the limit of both.

For `server`. A port has `wire` decode a request and `predict` read, run and answer it.
"""
