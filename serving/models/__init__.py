"""Models and their versions: found on disk, loaded, leased to requests, unloaded.

For `wire` (a signature says what a request has to bring), `predict`, `ports` and `server`.
"""
