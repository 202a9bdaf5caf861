"""Packages that a code folder's `requirements.txt` asks for, installed before its boot file starts.

Imports the store, and nothing of the agent's other modules.
"""
