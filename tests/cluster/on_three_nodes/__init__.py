"""A package: the scope by which the cluster has three nodes, and no longer than for these tests."""
