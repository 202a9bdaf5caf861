"""A run's folder kept in the object store while it is written to.

For the agent, and for `training.folders` when a boot file runs without one. It imports neither.
"""
