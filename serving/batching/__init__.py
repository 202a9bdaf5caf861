"""Requests that wait at the same time run as one.

For `models`, which owns a queue for each signature and gives it what it runs, and `server`.
"""
