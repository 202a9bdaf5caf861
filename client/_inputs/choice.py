"""Which signature a call goes to, by what is given and what is wanted.

Without a name it is the first of `predict_object`, `serving_default` and the others by name that
takes what is given. `about` is never taken: it answers no question.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from ..errors import FileError, InvalidInput
from ..specs import ModelMetadata, Signature, TensorSpec
from .frames import takes_encoded, takes_pixels

#: The contract of the MNIST example and of the managed service's client before it.
DEFAULT_SIGNATURE = "predict_object"
PREDICTIONS = "predictions"
PROBABILITIES = "probabilities"

#: What TF itself calls the signature of a model exported without a name for it.
_SERVING_DEFAULT = "serving_default"

#: Outputs of one answer's classes and of how sure the model is of each, by the names in use: those
#: of the managed service, of TF's estimators, of `tf.math.top_k`.
CLASSES = ("labels", "classes", "class_ids", "indices", "predictions")
CONFIDENCES = ("confidences", "scores", "probabilities", "values")

_NUMBERS = ("float16", "float32", "float64", "bfloat16")


class Choice:
    """Chooses the signature of each kind of example.

    Args:
        metadata: of the model.
        wanted: the signature to call; None: any that fits.
        input: the one that pictures, texts and single arrays go to; None: the only one.
        output: the one that is the answer, or that is ranked.
        top: whether classes are to be ranked.
    """

    def __init__(
        self,
        metadata: ModelMetadata,
        wanted: str | None = None,
        *,
        input: str | None = None,
        output: str | None = None,
        top: bool = False,
    ) -> None:
        self._metadata = metadata
        self._wanted = wanted
        self._input = input
        self._output = output
        self._top = top
        self._known: dict[str, Signature] = {}

    def plain(self) -> Signature:
        """Return the signature for arrays that `Client.predict` is given.

        Raises:
            InvalidInput: there is none.
        """
        return self._candidates()[0]

    def tensors(self) -> Signature:
        """Return the signature for arrays and numbers.

        Raises:
            InvalidInput: none has the input or output that is asked for.
        """
        return self._of("tensors", lambda _: True, "")

    def columns(self, names: Collection[str]) -> Signature:
        """Return the signature that takes columns of these names; if none does: as for arrays.

        Raises:
            InvalidInput: none has the input or output that is asked for.
        """
        try:
            return self._pick(
                lambda signature: bool(signature.inputs) and signature.inputs.keys() <= set(names),
                "",
            )
        except InvalidInput:
            return self.tensors()

    def named(self, name: str, path: str) -> Signature:
        """Return the signature that the file at `path` asks for.

        Raises:
            FileError: there is none, or another one is called.
        """
        if self._wanted not in (None, name):
            raise FileError(
                path,
                f"{path!r} asks for signature {name!r}, but {self._wanted!r} is called. Name it "
                "for the whole call, or take it out of the file.",
            )
        if name not in self._metadata.signatures:
            names = ", ".join(self._metadata.signatures) or "none"
            raise FileError(
                path, f"{path!r} asks for signature {name!r}. The model has: {names}. Take one."
            )
        return self._metadata.signatures[name]

    def texts(self) -> Signature:
        """Return the signature for texts.

        Raises:
            InvalidInput: none takes them.
        """
        named = self._input is not None

        def fits(signature: Signature) -> bool:
            return any(takes_text(spec, named=named) for spec in self._inputs(signature))

        return self._of("texts", fits, "takes no text")

    def pictures(self) -> Signature:
        """Return the signature for pictures: one of files, else one of pixels.

        Raises:
            InvalidInput: none takes them.
        """
        named = self._input is not None

        def takes(kind: Callable[[TensorSpec], bool]) -> Callable[[Signature], bool]:
            # With several inputs, those that get nothing would be missing.
            return lambda signature: (
                (named or len(signature.inputs) == 1)
                and any(kind(spec) for spec in self._inputs(signature))
            )

        if "pictures" not in self._known:
            try:
                found = self._pick(takes(lambda spec: takes_encoded(spec, named=named)), "")
            except InvalidInput:
                found = self._pick(takes(takes_pixels), "takes no pictures")
            self._known["pictures"] = found
        return self._known["pictures"]

    def _inputs(self, signature: Signature) -> list[TensorSpec]:
        return [spec for spec in signature.inputs.values() if self._input in (None, spec.name)]

    def _of(self, kind: str, fits: Callable[[Signature], bool], lack: str) -> Signature:
        if kind not in self._known:
            self._known[kind] = self._pick(fits, lack)
        return self._known[kind]

    def _candidates(self) -> list[Signature]:
        metadata, wanted = self._metadata, self._wanted
        model = f"Model {metadata.model!r} version {metadata.version}"
        if wanted is not None:
            if wanted not in metadata.signatures:
                names = ", ".join(metadata.signatures) or "none"
                raise InvalidInput(f"{model} has no signature {wanted!r}. Take one of: {names}.")
            return [metadata.signatures[wanted]]
        first = [DEFAULT_SIGNATURE, _SERVING_DEFAULT]
        rest = [
            name
            for name, signature in metadata.signatures.items()
            if name not in first and not signature.is_about
        ]
        found = [name for name in first if name in metadata.signatures] + rest
        if not found:
            raise InvalidInput(f"{model} has no signature. Export it with one.")
        return [metadata.signatures[name] for name in found]

    def _pick(self, fits: Callable[[Signature], bool], lack: str) -> Signature:
        candidates = self._candidates()
        fitting = [
            signature
            for signature in candidates
            if (self._input is None or self._input in signature.inputs)
            and (self._output is None or self._output in signature.outputs)
            and fits(signature)
        ]
        if not fitting:
            raise self._nothing(candidates, lack)
        if self._output is not None:
            return fitting[0]
        # A signature that takes the same and says more, as `serving_default` beside
        # `predict_object`: whoever sees an answer should see how sure it is.
        alike = [other for other in fitting if other.inputs == fitting[0].inputs]
        alike += [other for other in fitting if self._top and other not in alike]
        return next((other for other in alike if ranks(other.outputs)), fitting[0])

    def _nothing(self, candidates: list[Signature], lack: str) -> InvalidInput:
        model = f"Model {self._metadata.model!r} version {self._metadata.version}"
        lacks = [f"takes no input {self._input!r}"] if self._input is not None else []
        lacks += [f"gives no output {self._output!r}"] if self._output is not None else []
        lacks += [lack] if lack else []
        takes = "; ".join(
            f"{signature.name} takes "
            + (
                ", ".join(f"{spec.name} ({spec})" for spec in signature.inputs.values())
                or "nothing"
            )
            for signature in candidates
        )
        advice = "Ask for what `metadata` lists"
        if lack == "takes no text":
            advice += ". An input whose name ends in _bytes has to be named to take text"
        elif lack == "takes no pictures":
            advice += (
                ", and give tables (.csv with a header), tensors (.json, .npy) or texts (.txt)"
            )
        return InvalidInput(f"{model} {' or '.join(lacks)}: {takes}. {advice}.")


def ranks(outputs: Mapping[str, TensorSpec]) -> bool:
    """Return whether the outputs say by their names which classes are how probable."""
    probabilities = outputs.get(PROBABILITIES)
    if probabilities is not None and probabilities.dtype in _NUMBERS:
        # One number is not one for each class.
        sizes = (None,) if probabilities.shape is None else probabilities.shape[1:]
        if any(size != 1 for size in sizes):
            return True
    return pair_of({name: (spec.dtype, spec.shape) for name, spec in outputs.items()}) is not None


def pair_of(
    outputs: Mapping[str, tuple[str, tuple[int | None, ...] | None]],
) -> tuple[str, str] | None:
    """Return the names of an output of classes and of one of the confidences of each, if any.

    Args:
        outputs: by name, dtype (`string` for text) and shape with the dimension of the rows.
    """
    for confidences in CONFIDENCES:
        dtype, shape = outputs.get(confidences, ("", None))
        if dtype not in _NUMBERS or shape is None or len(shape) > 2:
            continue
        for classes in CLASSES:
            dtype, other = outputs.get(classes, ("", None))
            if (dtype == "string" or dtype.startswith(("int", "uint"))) and other == shape:
                return classes, confidences
    return None


def takes_text(spec: TensorSpec, *, named: bool = False) -> bool:
    """Return whether an input takes one text for each example.

    Names of inputs for anything but text, such as encoded pictures, end in `_bytes` (TF Serving's
    api_rest.md). An input that the user has `named` takes text whatever its name is.
    """
    strings = spec.dtype == "string" and (spec.shape is None or len(spec.shape) == 1)
    return strings and not spec.composite and (named or not spec.name.endswith("_bytes"))
