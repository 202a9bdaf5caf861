"""Dynamic resources: what no plugin of Pulumi has, made by a few lines of Python each.

For `program`, `components` and `commands`. They import `run`, `cluster` and `store`. Every module's
path is part of existing stacks' state: never move one.
"""
