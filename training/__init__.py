"""The library that boot files import: every module directly in this folder.

The folders are not for boot files: `agent` runs them in a training Job, `board` runs beside
TensorBoard, `steps` and `mirror` are parts of the library, `datasets`, `mnist` and `text` are the
examples. The library imports neither agent nor board nor examples. Importing this package, or the
agent, loads no TensorFlow.
"""
