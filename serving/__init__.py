"""The prediction half of dlstack: model server, model sync and gateway.

A request goes `ports` -> `wire` -> `predict` -> `batching` -> `models` -> `engine`. Imports go from
`ports` to `predict`, `wire`, `models`, `batching` and `engine`, in this order, and never back: a
batch queue is given the function that runs its model. The modules of this folder itself, but for
`__main__` and `server`, are for all of them.
"""
