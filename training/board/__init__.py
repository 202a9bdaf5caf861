"""What runs beside TensorBoard."""
