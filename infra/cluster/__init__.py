"""Questions to the cluster's API: nodes, objects, logs, addresses.

For everything else in infra; imports none of it but `settings`' plain values.
"""
