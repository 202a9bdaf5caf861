"""What the server answers to what each example is told: classes, confidences, numbers."""
