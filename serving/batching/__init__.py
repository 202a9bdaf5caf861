"""Requests that wait at the same time run as one.

For `models`, which own a queue for each signature.
"""
