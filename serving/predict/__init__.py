"""What a request does, whichever port it came in on: check, run, answer.

For `ports` and for warm-up.
"""
