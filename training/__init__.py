"""The training half of dlstack: the agent that runs a boot file, and the library boot files use.

Importing this package, or the agent, loads no TensorFlow.
"""
