"""The Pulumi components of dlstack. `program` is where they meet; `settings` is what they obey.

Importing this package registers nothing and loads nothing: the dynamic providers run in a process
of their own that imports `infra.resources.bucket` and friends on every `pulumi up`.
"""
