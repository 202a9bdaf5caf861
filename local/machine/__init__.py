"""What the platform needs of the machine (packages, network, control groups), and its processes.

`local.build` and `local.kubernetes` import it, and the commands.
"""
