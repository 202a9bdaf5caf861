"""The command: `python -m client`, or `dlstack` where the client is installed.

Only `__main__` and the installed script import it.
"""
