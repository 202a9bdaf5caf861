"""What identifies a training run: checksums of code and data, their Git commit, the run hash.

For `program` and the commands. Knows neither resources nor the cluster.
"""
