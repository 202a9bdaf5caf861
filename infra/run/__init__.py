"""What runs: checksums of code, data and packages, the commit, the run hash, attempts.

For `program`, `components`, `resources` and `commands`. It reads settings, folders and buckets, and
declares nothing.
"""
