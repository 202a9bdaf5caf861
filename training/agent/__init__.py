"""The agent of a training Job: it fetches code and data, runs the boot file, publishes its model.

Imported by `training.__main__` alone. It may import the library, but nothing that loads TensorFlow.
"""
