"""S3 for all of dlstack: `infra` puts code and data there, the agent of a training Job and
`serving.sync` work on it in the pods. These three may import this package, and it imports none of
them, neither `pulumi` nor TensorFlow, and boto3 only when a store is used: it is shipped to the
pods, and Pulumi loads its dynamic providers, which take 0.4 s longer with boto3, at each `up`.
"""
