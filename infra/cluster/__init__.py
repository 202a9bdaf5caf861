"""Kubernetes as infra sees it: questions to the API, nodes, flavours of pods, names and labels.

All of infra may import it; it imports no other room, and asks the cluster only when it is called.
"""
