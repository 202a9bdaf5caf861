"""Client of TensorFlow Serving: library and command, over gRPC and REST, without TensorFlow.

    from client import Client

    with Client("127.0.0.1", "mnist", port=31670) as client:
        for answer in client.predict_files(["digit.png"]):
            print(answer.prediction)

`AsyncClient` is the same for asyncio. What is named here is public; folders with an underscore are
the client's own.

Importing this costs some 20 ms: numpy, Pillow and gRPC are imported when they are first needed.
"""

from ._calls.async_client import AsyncClient
from ._calls.client import Client
from ._inputs.labels import read_labels
from ._transports.tls import Tls
from .about import About, TensorAbout
from .errors import (
    ConnectionFailed,
    DeadlineExceeded,
    FileError,
    InvalidInput,
    PictureError,
    PredictionError,
    PredictionWarning,
    ServerError,
    SettingsError,
)
from .results import (
    ExamplePrediction,
    ExamplePredictions,
    ModelStatus,
    Prediction,
    Score,
    VersionStatus,
)
from .specs import ModelMetadata, Signature, TensorSpec

__all__ = [
    "About",
    "AsyncClient",
    "Client",
    "ConnectionFailed",
    "DeadlineExceeded",
    "ExamplePrediction",
    "ExamplePredictions",
    "FileError",
    "InvalidInput",
    "ModelMetadata",
    "ModelStatus",
    "PictureError",
    "Prediction",
    "PredictionError",
    "PredictionWarning",
    "Score",
    "ServerError",
    "SettingsError",
    "Signature",
    "TensorAbout",
    "TensorSpec",
    "Tls",
    "VersionStatus",
    "read_labels",
]
