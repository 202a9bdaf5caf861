"""Commands that get the examples' data sets. Nothing imports them; the run hash leaves them out.

Of the library they import the command line alone.
"""
