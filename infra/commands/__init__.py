"""`python -m infra`: what a deployed stack does, read from its cluster and its bucket.

For `infra.__main__` alone; `pulumi up` needs nothing of it. It imports `resources`, `run`,
`cluster` and `store`, and no settings: a stack tells what it is itself.
"""
