"""The sidecar of TensorBoard: it copies event files from the object store.

Imported by `training.__main__` alone.
"""
