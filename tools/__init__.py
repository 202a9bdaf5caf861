"""What the developers of this repository run; nothing of it is shipped."""
