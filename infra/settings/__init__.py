"""What the user configured, checked: `settings.load` is the only reader of `pulumi.Config`.

For `program` and `__main__.py`; components take plain values. Imports nothing else of infra.
"""
