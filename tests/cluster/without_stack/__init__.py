"""A package, so that pytest knows when its last test is over, and stops the cluster then."""
