"""SavedModels run by TensorFlow's C library. The only importer of TensorFlow in `serving`.

For `models`.
"""
