"""Which server and model: from arguments, the environment, or a deployed stack."""
