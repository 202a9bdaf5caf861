"""S3 for all of dlstack: `infra`, `training` and `serving.sync` import it, and their pods get it.

It imports nothing of them, neither `pulumi` nor TensorFlow, and boto3 only when a store is used:
Pulumi loads this package with the dynamic providers at each `up`, and boto3 takes 0.4 s.
"""
