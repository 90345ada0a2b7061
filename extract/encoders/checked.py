"""An encoder of a user's own at work: built, and what it returns checked, so that a mistake is one clear error."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ...cache.format.schema import KINDS, canonical
from ...cache.format.shard_write import FeatureError, to_stored
from ...errors import EncoderError, ItinError
from ..config import EncoderConfig
from .contract import Arrays, EncoderSpec
from .own import FLAGS, described, own_class

PAGE = "docs/encoders.md describes what an encoder is given and returns"

UNKNOWN = {"objects": -1, "object_scores": 0, "attributes": -1, "attribute_scores": 0}
"""The arrays of regions that an encoder may leave out, and what they then hold."""

INT32 = np.iinfo(np.int32)


class FailedInputError(EncoderError, RuntimeError):
    """An exception inside of an encoder: perhaps the fault of one input, which is then encoded alone."""


class NoneSoundError(EncoderError):
    """No input so far gave arrays that can be stored: a mistake, unless the encoder has made others before."""


class CheckedEncoder:
    """An encoder of a user's own, image or text, as `contract` describes them.

    Its name is the one that selects it, and the digest of its code is part of its specification.

    Args:
        kind: the kind of feature that it is asked for; for `scene` it is an encoder of context.
        name: the name that selects it.
        config: the options that it is given.
        device: where it runs.
        batch_size: inputs a batch; None for what suits it.
        allow: the names whose code may be imported, see `own.own_class`.

    Raises:
        EncoderError: it cannot be imported or built, or its specification is wrong.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        config: EncoderConfig,
        device: torch.device,
        *,
        batch_size: int | None = None,
        allow: Collection[str] = (),
    ) -> None:
        self._own = own_class(kind, name, allow)
        self._kind, self._config, self._flag = "context" if kind == "scene" else kind, config, FLAGS[kind]
        self._encoder = self._built(device, batch_size)
        spec = self._checked_spec()
        self.spec = replace(spec, name=name, preprocessing={**spec.preprocessing, "code": self._own.code})
        self.batch_size: int = self._encoder.batch_size
        self._any_sound = False

    def prepare(self, image: np.ndarray) -> Any:
        """Return the prepared input of an image with its size; an exception is kept, for `encode` to raise."""
        size = (image.shape[1], image.shape[0])
        try:
            return self._run(self._encoder.prepare, image), size
        except EncoderError as error:
            return error, size

    def encode(self, inputs: list[Any]) -> list[Arrays]:
        """Return the arrays of each input, checked.

        Raises:
            EncoderError: they are not what the contract says. One that is a RuntimeError too comes from an exception
                inside of the encoder, perhaps for the sake of one input.
        """
        sizes: Sequence[tuple[int, int] | None] = [None] * len(inputs)
        given = inputs
        if self._kind != "tokens":
            given, sizes = [one for one, _ in inputs], [size for _, size in inputs]
            for one in given:
                if isinstance(one, EncoderError):
                    raise one
        results = [
            result
            for start in range(0, len(given), self.batch_size)  # of texts, a shard's may come at once
            for result in self._batch(given[start : start + self.batch_size])
        ]
        arrays = [self._checked(result, size) for result, size in zip(results, sizes, strict=True)]
        if not self._any_sound:
            self._check_some_sound(given, arrays)
        return arrays

    def _batch(self, given: list[Any]) -> list[Any]:
        results = self._run(self._encoder.encode, given)
        if not isinstance(results, list) or len(results) != len(given):
            found = f"{len(results)} results" if isinstance(results, list) else type(results).__name__
            raise self._mistake("encode", f"a list of {len(given)} dicts, one an input", found)
        return results

    def words(self, text: str) -> list[str]:
        """Return the words of a text, which `word_ids` index."""
        words: list[str] = self._run(self._encoder.words, text)
        return words

    def _built(self, device: torch.device, batch_size: int | None) -> Any:
        signature = inspect.signature(self._own.cls)
        try:
            signature.bind(self._config, device, batch_size=batch_size)
        except TypeError as error:
            raise self._mistake("__init__", "(config, device, *, batch_size)", str(signature)) from error
        return self._run(self._own.cls, self._config, device, batch_size=batch_size)

    def _run(self, call: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
        """Call a method of the encoder; any exception of Python's becomes one of ours that names the line."""
        try:
            return call(*inputs, **options)
        except ItinError:
            raise
        except Exception as error:
            where = self._own.cls.__module__
            raise FailedInputError(f"the encoder {self._own.name} failed: {described(error, where)}") from error

    def _mistake(self, where: str, expected: str, found: str, fault: type[EncoderError] = EncoderError) -> EncoderError:
        return fault(
            f"the encoder {self._own.name} breaks the contract of encoders in {where}",
            expected=expected,
            found=found,
            next_step=PAGE,
        )

    def _checked_spec(self) -> EncoderSpec:
        """Return the encoder's specification if it, and the encoder's other members, are what they should be."""
        encoder, kind = self._encoder, self._kind
        spec = getattr(encoder, "spec", None)
        if not isinstance(spec, EncoderSpec):
            raise self._mistake("spec", "an EncoderSpec", repr(spec))
        if not all(isinstance(part, dict) for part in (spec.weights, spec.preprocessing, spec.dims)):
            raise self._mistake("spec", "weights, preprocessing and dims that are dicts", repr(spec))
        if spec.kind != kind:
            raise self._mistake("spec.kind", f"{kind!r}, for {self._flag}", repr(spec.kind))
        for name in ("feature", "max_regions") if kind == "regions" else ("feature",):
            if not _is_count(size := spec.dims.get(name)):
                raise self._mistake("spec.dims", f"{name!r}: a whole number from 1", repr(size))
        if "code" in spec.preprocessing:
            raise self._mistake("spec.preprocessing", "no key 'code', which itin sets", "one")
        try:
            canonical([spec.weights, spec.preprocessing, spec.dims])
        except (TypeError, ValueError) as error:
            raise self._mistake("spec", "values that JSON has: they are the fingerprint", str(error)) from error
        if not _is_count(size := getattr(encoder, "batch_size", None)):
            raise self._mistake("batch_size", "a whole number from 1", repr(size))
        for method in ("encode", "words") if kind == "tokens" else ("prepare", "encode"):
            if not callable(getattr(encoder, method, None)):
                raise self._mistake(method, "a method", "none")
        return spec

    def _checked(self, given: Any, size: tuple[int, int] | None) -> Arrays:
        """Return the arrays of one input, whole; the writer checks that their values can be stored."""
        if not isinstance(given, dict):
            raise self._mistake("encode", "a dict of arrays for each input", type(given).__name__)
        arrays: Arrays = given
        names = [schema.name for schema in KINDS[self._kind]]
        if self._kind == "regions" and isinstance(arrays.get("scores"), np.ndarray):
            count = arrays["scores"].shape[:1]
            arrays = {name: np.full(count, value, np.int32) for name, value in UNKNOWN.items()} | arrays
        if set(arrays) != set(names):
            raise self._mistake("encode", f"arrays {', '.join(names)}", ", ".join(map(str, arrays)) or "none")
        rows: Any = "n"
        for schema in KINDS[self._kind]:
            array = arrays[schema.name]
            wide = {"boxes": 4}.get(schema.name, self.spec.dims["feature"] if schema.dtype == "feature" else None)
            number = "iu" if schema.dtype == "int32" else "fiu"
            if rows == "n" and isinstance(array, np.ndarray) and array.ndim:
                rows = array.shape[0]
            shape = (*(() if schema.axis == "sample" else (rows,)), *(() if wide is None else (wide,)))
            if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in number:
                word, said = "whole numbers" if number == "iu" else "numbers", str(shape).replace("'", "")
                found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(type(array))
                raise self._mistake("encode", f"{schema.name}: a NumPy array of {word}, shape {said}", found)
            if number == "iu" and array.size and not INT32.min <= array.min() <= array.max() <= INT32.max:
                raise self._mistake(
                    "encode", f"{schema.name}: numbers that int32 holds", f"{array.min()}, {array.max()}"
                )
        if self._kind == "regions":
            self._check_regions(arrays, size)
        return arrays

    def _check_regions(self, arrays: Arrays, size: tuple[int, int] | None) -> None:
        scores, boxes, most = arrays["scores"], arrays["boxes"], self.spec.dims["max_regions"]
        if len(scores) > most:
            raise self._mistake("encode", f"at most {most} regions (spec.dims['max_regions'])", str(len(scores)))
        if (np.diff(scores.astype(np.float64)) > 0).any():
            raise self._mistake("encode", "regions by descending score", f"scores {np.round(scores[:6], 4).tolist()}")
        if size is None:
            return
        sides = np.array([*size, *size])
        slack = 1e-3 * sides.max()  # rounding of boxes that were scaled
        x1, y1, x2, y2 = boxes.T
        wrong = ((boxes < -slack) | (boxes > sides + slack)).any(1) | (x1 > x2) | (y1 > y2)
        if wrong.any():
            raise self._mistake(
                "encode",
                f"boxes x1, y1, x2, y2 in pixels of the original image, here {size[0]} x {size[1]}",
                str(boxes[wrong][0].tolist()),
            )

    def _check_some_sound(self, given: list[Any], arrays: list[Arrays]) -> None:
        """Check that not every sample would end in quarantine: until one can be stored, a batch of none is an error."""
        refused = []
        for one, sample in zip(given, arrays, strict=True):
            if self._kind == "tokens" and len(sample["word_ids"]):
                last, words = int(sample["word_ids"].max()), self.words(one)
                if last >= len(words):
                    raise self._mistake("encode", f"word_ids below {len(words)}, the length of words(text)", str(last))
            try:
                to_stored(self._kind, sample, self._config.store_dtype, self.spec.dims)
            except FeatureError as error:
                refused.append(str(error))
        self._any_sound = len(refused) < len(arrays)
        without = self._kind == "tokens" and not any((sample["word_ids"] >= 0).any() for sample in arrays)
        if refused and not self._any_sound and not (without and not any(str(one).strip() for one in given)):
            found = f"none in a whole batch: {refused[0]}"
            raise self._mistake("encode", f"{self._kind} that can be stored", found, NoneSoundError)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
