"""The agent of a training Job: fetches code and data, runs the boot file, publishes its model.

Nothing here is for boot files: the library is beside it, in `training`.
"""
