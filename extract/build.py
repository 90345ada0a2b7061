"""Encoders by name: from options to the encoder of one kind, and back from a store to the encoder that filled it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..cache import fingerprint_of
from ..errors import WeightsError
from ..parts import cores
from .config import EncoderConfig
from .context import ResNetContext
from .encoders import EncoderSpec, ImageEncoder, TextEncoder
from .grid import GRIDS, GridRegions
from .tokens import BertTokens, has_tokenizer
from .vg_frcnn import VGFasterRCNN
from .weights import find_detector_weights

REGIONS = ("vg-frcnn", *GRIDS)
CONTEXTS = ("resnet18", "resnet18-center")


def needs_built_tokenizer(config: EncoderConfig) -> bool:
    """True when untrained text features are asked for and no tokenizer of the model is at hand."""
    return config.random_init is not None and not has_tokenizer(config.text_encoder)


def build_encoder(
    kind: str,
    config: EncoderConfig,
    device: torch.device,
    *,
    batch_size: int | None = None,
    tokenizer_file: Path | None = None,
) -> ImageEncoder | TextEncoder:
    """The encoder of one kind of feature.

    Args:
        kind: `regions`, `tokens` or `context`.
        config: which encoder, with which weights and limits.
        device: where it runs.
        batch_size: inputs a batch; None for what suits the encoder.
        tokenizer_file: the tokenizer that was built from the data set's texts, where there is one.

    Raises:
        ValueError: no encoder of that name.
        WeightsError: its weights cannot be had.
    """
    common: dict[str, Any] = {"device": device, "compute_dtype": config.compute_dtype}
    if batch_size is not None:
        common["batch_size"] = batch_size
    build: dict[str, Callable[[], ImageEncoder | TextEncoder]] = {
        "regions": lambda: _regions(config, common),
        "tokens": lambda: BertTokens(
            config.text_encoder,
            random_init=config.random_init,
            max_tokens=config.max_tokens,
            tokenizer_file=tokenizer_file,
            **common,
        ),
        "context": lambda: _context(config, common),
    }
    return build[kind]()


def identity_of(spec: EncoderSpec, store_dtype: str) -> dict[str, Any]:
    """The identity of the store that an encoder fills."""
    return {**spec.as_dict(), "dtype": store_dtype}


def check_same(kind: str, made: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuses to mix features: the encoder built here must be the one that filled the store.

    Raises:
        WeightsError: names the first thing that differs.
    """
    if fingerprint_of(made) == fingerprint_of(expected):
        return
    differing = [name for name in expected if made.get(name) != expected[name]]
    name = differing[0] if differing else "format"
    raise WeightsError(
        f"the {kind} encoder here is not the one that the run was trained with: {name} differs",
        expected=str(expected.get(name)),
        found=str(made.get(name)),
        next_step="use the same weights and library versions as for the extraction, or extract and train again",
    )


def _regions(config: EncoderConfig, common: dict[str, Any]) -> ImageEncoder:
    _known("region encoder", config.regions, REGIONS)
    common = {**common, "max_regions": config.max_regions}
    if config.regions in GRIDS:
        return GridRegions(config.regions, random_init=config.random_init, **common)
    common |= {
        "selection": config.detector_selection,
        "min_regions": config.min_regions,
        "backend": config.detector_backend,
        "objects": _path(config.object_names),
        "attributes": _path(config.attribute_names),
    }
    if config.random_init is not None:
        return VGFasterRCNN.random_init(config.random_init, recipe=config.detector_recipe or "hf", **common)
    weights = find_detector_weights(config.detector_weights)
    return VGFasterRCNN.load(weights, recipe=config.detector_recipe, **common)


def _context(config: EncoderConfig, common: dict[str, Any]) -> ImageEncoder:
    _known("context encoder", config.context_encoder, CONTEXTS)
    return ResNetContext(config.context_encoder, random_init=config.random_init, **common)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name).expanduser()


def _known(what: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"unknown {what} {name!r}: choose one of {', '.join(names)}")


def default_workers() -> int:
    """One decoding thread a core that this process may use, at most 16."""
    return min(cores(), 16)
