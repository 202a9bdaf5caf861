"""What a request asks for, whichever port it came in on: read, run, answered.

For `ports`, and for `server`, which has `models` run the warm-up.
"""
