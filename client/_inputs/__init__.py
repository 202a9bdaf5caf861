"""What users give (arrays, files, texts, labels) to a model's inputs, and its outputs to answers.

`_calls`, `_command` and the package itself import it.
"""
