"""`python -m training try`: a boot file on this machine, as the training job would run it.

It uses the agent's own pieces, so that it says what the job would say. Pods have no use of it.
"""
