"""The gRPC port: PredictionService, ModelService, health and reflection."""
