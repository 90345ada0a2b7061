"""Pickles of others: NumPy arrays and plain containers, nothing else.

An array is made of its bytes and of the letters of its dtype. NumPy's own way takes over the dtype's inner flags from
the pickle, and with flags that do not fit them numbers are followed as addresses.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np


def load_arrays(data: bytes) -> Any:
    """Unpickle NumPy arrays and plain containers; raise `pickle.UnpicklingError` for anything else."""
    return _ArraysOnly(io.BytesIO(data), encoding="latin1").load()


class _Dtype:
    """A dtype in a pickle: of its state only the order of the bytes is taken."""

    def __init__(self, letters: Any, *_: Any) -> None:
        self.found = np.dtype(letters.decode("latin1") if isinstance(letters, bytes) else str(letters))
        if self.found.names is not None or self.found.subdtype is not None or self.found.kind in "VmM":
            raise pickle.UnpicklingError(f"it holds arrays of dtype {self.found}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else str(state[1])
        self.found = self.found.newbyteorder(order)  # type: ignore[arg-type]


class _Array(np.ndarray):
    """An array in a pickle."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, fortran, content = state[-5:] if len(state) > 4 else (0, *state)
        super().__setstate__((version, shape, _checked(dtype), fortran, content))


def _checked(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError(f"it holds an array of the dtype {dtype!r:.40}")
    return dtype.found


def _reconstruct(kind: Any, shape: Any, letters: Any) -> _Array:
    """Make the empty array that the state is given to next."""
    if kind is not _Array:
        raise pickle.UnpicklingError(f"it holds an array of the class {kind!r:.40}")
    empty: _Array = _Array((0,), np.uint8)
    return empty


def _scalar(dtype: Any, content: Any = b"") -> Any:
    found = _checked(dtype)
    if found.hasobject:
        raise pickle.UnpicklingError("it holds a number that is an object")
    content = content.encode("latin1") if isinstance(content, str) else bytes(content)
    return np.frombuffer(content, found, 1)[0]


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    made: np.ndarray = np.frombuffer(content, _checked(dtype)).reshape(shape, order=order)
    return made


def _latin1(text: str, encoding: str) -> bytes:
    """Encode as pickled arrays do: the only use of `_codecs.encode` in them."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for _codecs.encode with {encoding!r}")
    return text.encode("latin1")


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that admits only NumPy arrays, NumPy scalars and plain containers."""

    _CORES = ("numpy.core", "numpy._core")
    _ADMITTED: ClassVar[dict[tuple[str, str], Any]] = {
        **{(f"{core}.multiarray", "_reconstruct"): _reconstruct for core in _CORES},
        **{(f"{core}.multiarray", "scalar"): _scalar for core in _CORES},
        **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _CORES},
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin1,  # how Python 2 and protocol 2 write an array's bytes
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self._ADMITTED[module, name]
