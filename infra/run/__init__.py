"""What identifies a training run: checksums of code and data, their commit, run hash, attempts.

For `program`, `components` and `commands`. It reads folders and buckets, and declares nothing.
"""
