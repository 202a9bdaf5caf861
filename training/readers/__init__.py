"""Data sets in files as `tf.data.Dataset`: pictures in folders, CSV, TFRecord, Parquet.

For boot files, which import the modules here. Each has a function `read`, which looks at the files
without TensorFlow, so that a fault in the data is reported at once, and returns `Examples`.
"""
