"""What the user configured, checked: the only reader of `pulumi.Config`.

For `program` and `__main__.py`. It imports plain values of `cluster`, and no component or resource.
"""
