"""A Kubernetes of one node: configured, started, asked, stopped.

The platform and its commands import it.
"""
