"""What this machine has of all that the embedded cluster needs, and the cure for what it lacks.

One module for each concern; `examination` asks them all. Each is a function of a `Machine`, whose
files, commands and variables a test brings along. Nothing here needs more than the standard library
or changes anything, and it runs on Python 3.9: it says what is wrong with the Python of a machine.
"""
