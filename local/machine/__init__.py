"""What the platform needs of the machine, and its processes on it."""
