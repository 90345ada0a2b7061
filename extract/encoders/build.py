"""Encoders by name: from options to the encoder of one kind, and back from a store to the encoder that filled it.

Imports no torch, so that a command line can list the names at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...cache.format.schema import fingerprint_of
from ...errors import WeightsError
from ..config import EncoderConfig
from . import own

if TYPE_CHECKING:
    import torch

    from ..weights.requirement import WeightsRequirement
    from .contract import EncoderSpec, ImageEncoder, TextEncoder

ANY = "*"
"""The key in `ENCODERS` for every name that has no line of its own."""

ENCODERS: dict[str, dict[str, str]] = {
    "regions": {
        "vg-frcnn": "vg_frcnn:VGFasterRCNN",
        "grid": "grid:GridRegions",
        "grid-resnet18": "grid:GridRegions",
        "grid-small": "grid:GridRegions",
        "efficientnet-lite0": "vision:PatchRegions",
        "fasterrcnn_resnet50_fpn_v2": "torchvision_detector:RegionHead",
        "fasterrcnn_resnet50_fpn": "torchvision_detector:RegionHead",
        "fasterrcnn_mobilenet_v3_large_fpn": "torchvision_detector:RegionHead",
        "fasterrcnn_mobilenet_v3_large_320_fpn": "torchvision_detector:RegionHead",
        ANY: "vision:PatchRegions",
    },
    "context": {
        "resnet18": "context:ResNetContext",
        "resnet18-center": "context:ResNetContext",
        "efficientnet-lite0": "vision:PooledContext",
        "efficientnet-lite0-stages": "stages:StageMaxima",
        ANY: "vision:PooledContext",
    },
    "tokens": {"minilm": "minilm:MiniLMTokens", ANY: "tokens:BertTokens"},
}
ENCODERS["scene"] = ENCODERS["context"]
"""Kind of feature -> name -> `module:Class` in this folder, as `contract` describes it. A new encoder is a file here
and a line in this table."""

_WORDS = {"regions": "region", "tokens": "text", "context": "context", "scene": "scene"}


def build_encoder(
    kind: str,
    config: EncoderConfig,
    device: torch.device,
    *,
    batch_size: int | None = None,
    tokenizer_file: Path | None = None,
    allow: Collection[str] = (),
) -> ImageEncoder | TextEncoder:
    """Return the encoder of one kind of feature.

    Args:
        kind: `regions`, `tokens`, `context`, or `scene`: a context encoder whose vectors are stored as the scene.
        config: which encoder, with which weights and limits.
        device: where it runs.
        batch_size: inputs a batch; None for what suits the encoder.
        tokenizer_file: the tokenizer that was built from the data set's texts, where there is one.
        allow: the names that a user gave for this very process: a `module:Class` is imported only if it is one of them.

    Raises:
        ValueError: there is no encoder of that name.
        WeightsError: its weights cannot be loaded.
        EncoderError: it is a user's own, and may not be imported, cannot be, or is not as the contract says.
    """
    if is_own(kind, config):
        from .checked import CheckedEncoder

        name, options = _name_of(kind, config), _asked(kind, config)
        return _as(kind, CheckedEncoder(kind, name, options, device, batch_size=batch_size, allow=allow))
    more: dict[str, Any] = {"tokenizer_file": tokenizer_file} if kind == "tokens" else {}
    trained = config.seed_of(kind) is None  # else nothing is downloaded
    try:
        found = _class_of(kind, config, download=trained)
        encoder: ImageEncoder | TextEncoder = found(_asked(kind, config), device, batch_size=batch_size, **more)
    except WeightsError as error:
        name, known = _name_of(kind, config), [name for name in ENCODERS[kind] if name != ANY]
        if kind == "tokens" or name in known or not _is_misspelt(name):
            raise
        raise ValueError(
            f"unknown {_WORDS[kind]} encoder {name!r}: choose one of {', '.join(known)}, a model by its name on the "
            f"hub or its folder, or your own as module:Class. As a name on the hub: {error}"
        ) from error
    return _as(kind, encoder)


def is_own(kind: str, config: EncoderConfig) -> bool:
    """Return whether the encoder of a kind is a user's own: `module:Class` or an entry point. Imports nothing."""
    name = _name_of(kind, config)
    return name not in ENCODERS[kind] and own.is_own(name)


def _asked(kind: str, config: EncoderConfig) -> EncoderConfig:
    """Return the options as the encoder's class reads them: one of the scene is asked for its context."""
    if kind != "scene":
        return config
    return replace(config, context_encoder=_name_of(kind, config), random_init=config.seed_of(kind), scene_encoder=None)


def _as(kind: str, encoder: ImageEncoder | TextEncoder) -> ImageEncoder | TextEncoder:
    """Return an encoder as one of a kind."""
    if kind != "scene":
        return encoder
    from .scene import SceneEncoder

    return SceneEncoder(cast("ImageEncoder", encoder))


def required_weights(config: EncoderConfig, allow: Collection[str] = ()) -> list[WeightsRequirement]:
    """Return which weights every encoder needs, where they are searched for, and what was found, without a download.

    Encoders of one kind that need the same weights are listed once, by the first; one of two kinds is listed once, too.
    A user's own encoder is listed if its class has `needs`.

    Args:
        config: the encoders by name, where a kind takes any.
        allow: the names whose code may be imported, see `build_encoder`.

    Raises:
        EncoderError: an encoder of the user's own cannot be imported.
    """
    rows: dict[tuple[str, str], WeightsRequirement] = {}
    for kind, names in ENCODERS.items():
        if kind == "scene" and config.scene_encoder is None:
            continue
        others = [_name_of(kind, config)] if is_own(kind, config) else []
        no_model = others or _name_of(kind, config) in names  # that the line for any name would stand for
        for name in [*(name for name in names if name != ANY or not no_model), *others]:
            named: dict[str, Any] = {} if name == ANY else {own.FIELDS[kind]: name}
            one = replace(config, **named)
            needs = getattr(_class_of(kind, one, allow, download=False), "needs", None)
            if needs is not None:
                row = needs(_asked(kind, one))
                rows.setdefault((kind, row.needs), row)
    return list({(row.encoder, row.needs): row for row in rows.values()}.values())


def weights_of(config: EncoderConfig, kinds: Iterable[str]) -> dict[str, WeightsRequirement]:
    """Return the weights that the named encoders take, by kind of feature.

    Untrained encoders take none, and those of a user's own see to theirs.
    """
    trained = (kind for kind in kinds if config.seed_of(kind) is None and not is_own(kind, config))
    return {kind: _class_of(kind, config).needs(_asked(kind, config)) for kind in trained}


def identity_of(spec: EncoderSpec, store_dtype: str) -> dict[str, Any]:
    """Return the identity of the store that an encoder fills."""
    return {**spec.as_dict(), "dtype": store_dtype}


def check_same(kind: str, made: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse to mix features: the encoder built here must be the one that filled the store.

    Raises:
        WeightsError: names the first thing that differs.
    """
    if fingerprint_of(made) == fingerprint_of(expected):
        return
    differing = [name for name in expected if made.get(name) != expected[name]]
    name = differing[0] if differing else "format"
    one, other = expected.get(name), made.get(name)
    if isinstance(one, dict) and isinstance(other, dict) and one.get("code") != other.get("code"):
        name, one, other = "its code", one.get("code"), other.get("code")
    raise WeightsError(
        f"the {kind} encoder here is not the one that the run was trained with: {name} differs",
        expected=str(one),
        found=str(other),
        next_step="use the same code, weights and library versions as for the extraction, or extract and train again",
    )


def _name_of(kind: str, config: EncoderConfig) -> str:
    name: str | None = getattr(config, own.FIELDS[kind])
    if name is None:
        raise ValueError(f"{own.FIELDS[kind]}: expected the name of an encoder, got None")
    return name


def _class_of(kind: str, config: EncoderConfig, allow: Collection[str] = (), *, download: bool = True) -> Any:
    name, names = _name_of(kind, config), ENCODERS[kind]
    if is_own(kind, config):
        return own.own_class(kind, name, allow).cls
    module, found = (names[name] if name in names else _any_model(kind, name, download)).split(":")
    return getattr(import_module(f".{module}", __package__), found)


def _is_misspelt(name: str) -> bool:
    """Return whether a name that could not be loaded is most likely a misspelt one of the table's."""
    from .detection import detector_of

    return "/" not in name and not Path(name).exists() and detector_of(name, download=False) is None


def _any_model(kind: str, name: str, download: bool) -> str:
    """Return the line for a name without one: a detector by name, or a model by its name on the hub or its folder."""
    if kind == "tokens":
        return ENCODERS[kind][ANY]
    from .detection import detector_of  # here, for it loads torch

    line = detector_of(name, download=download)
    if line is not None and kind != "regions":
        raise WeightsError(
            f"{name} is a detector: it has vectors of regions, and none of the whole image",
            expected="a model with one vector for an image",
            next_step=f"name the detector in --regions, and choose another --{kind}-encoder, for example resnet18",
        )
    return line or ENCODERS[kind][ANY]
