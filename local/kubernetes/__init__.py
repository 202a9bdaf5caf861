"""A Kubernetes of one node: configured, started, asked, stopped."""
