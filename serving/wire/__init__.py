"""Requests and answers between their form on the wire (protobuf, JSON) and numpy.

For `ports` and `predict`.
"""
