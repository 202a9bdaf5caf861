"""This machine's own Kubernetes and Pulumi: `python -m local`, which the Makefile calls.

Nothing but its tests imports it. It imports none of the other folders: it calls them as commands.
"""
