"""Models and their versions: found on disk, loaded, leased to requests, unloaded.

For `predict`, `ports` and `server`.
"""
