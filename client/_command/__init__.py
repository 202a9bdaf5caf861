"""The command `python -m client`."""
