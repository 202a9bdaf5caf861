"""The parts of a stack as Pulumi components, one a module, and the pod specs that they share.

For `program`. Components never look at settings: they are told all that they need.
"""
