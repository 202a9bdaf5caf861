"""The Pulumi program, and `python -m infra`, which looks at what it deployed.

A deployment goes `program` -> `settings`, `run` -> `components` -> `resources` -> `cluster`,
`store`. Imports go from `program` to `components`, `resources`, `run`, `settings` and `cluster`, in
this order, and never back. Components and resources see no settings: they take plain values.

Importing this package registers nothing and loads nothing: the dynamic providers run in a process
of their own that imports `infra.resources.bucket` and friends on every `pulumi up`.
"""
