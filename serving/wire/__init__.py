"""Tensors and Examples between their form on the wire (protobuf, JSON) and numpy.

For `predict` and `ports`.
"""
