"""Client of TensorFlow Serving: library and command, over gRPC and REST, without TensorFlow.

    from client import Client

    with Client("127.0.0.1", "mnist", port=31670) as client:
        for answer in client.predict_pictures(["digit.png"]):
            print(answer.prediction)

Importing this costs some 20 ms: numpy, Pillow and gRPC are imported when they are first needed.
"""

from ._client import Client
from ._exceptions import (
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    PictureError,
    PredictionError,
    ServerError,
    SettingsError,
)
from ._types import (
    ModelMetadata,
    ModelStatus,
    PicturePrediction,
    Prediction,
    Score,
    Signature,
    TensorSpec,
    VersionStatus,
)

__all__ = [
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "InvalidInput",
    "ModelMetadata",
    "ModelStatus",
    "PictureError",
    "PicturePrediction",
    "Prediction",
    "PredictionError",
    "Score",
    "ServerError",
    "SettingsError",
    "Signature",
    "TensorSpec",
    "VersionStatus",
]
