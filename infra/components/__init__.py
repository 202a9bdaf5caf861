"""The parts of a stack as Pulumi components, one a module, and the pod specs that they share.

For `program`. They import `resources`, `run` and `cluster`, never settings: they are told all that
they need, and own the types of what they are told.
"""
