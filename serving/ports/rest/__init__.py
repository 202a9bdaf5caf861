"""The REST port: TensorFlow Serving's HTTP interface."""
