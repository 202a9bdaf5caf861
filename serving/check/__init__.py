"""Does a SavedModel answer? `python3 -m serving.check MODEL_DIR` tries before it is published.

It runs each signature once by the server's own engine, in a process that may end with the model.
"""
