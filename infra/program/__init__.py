"""From settings to a whole stack: `build` in `stack`, with a module each for its three parts.

For `__main__.py` alone. It may import every room but `commands`; no room imports it.
"""
