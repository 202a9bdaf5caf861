"""SavedModels loaded and run by TensorFlow's C library, which nothing else here loads.

For `models`, and for `__main__`, which asks for TensorFlow's version. Elsewhere in `serving` only
TensorFlow's messages are imported (`tensorflow.core`).
"""
