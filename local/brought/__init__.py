"""A cluster that the person brings: which one KUBECONFIG means, and its image without a registry.

The platform imports it.
"""
