"""The names of arrays in a source: those that were given with `--map`, ours, and those that other tools use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...cache.format.schema import KINDS
from ..data.reading import BadFile
from .record import Asked

IDS = ("ids", "id", "image_id", "image_ids", "img_id", "names", "keys")
"""The names of a list of ids."""

VECTORS = ("features", "feature", "feats", "x", "embeddings", "embedding", "array")
"""What other tools call the features themselves."""

ALIASES: dict[str, tuple[str, ...]] = {
    "regions": ("descriptors", "region_features", *VECTORS),
    "tokens": ("last_hidden_state", "hidden_states", *VECTORS),
    "context": ("global_descriptor", *VECTORS),
    "boxes": ("bbox", "bboxes"),
    "scores": ("objects_conf", "conf"),
    "objects": ("objects_id",),
    "object_scores": ("objects_conf",),
    "attributes": ("attrs_id",),
    "attribute_scores": ("attrs_conf",),
    "token_ids": ("input_ids",),
    "counts": ("count", "num_boxes", "num_bbox"),
    "lengths": ("length",),
    "mask": ("attention_mask",),
    "width": ("image_w", "image_width", "img_w"),
    "height": ("image_h", "image_height", "img_h"),
    "ids": IDS[1:],
}
"""Our names -> what else they are called, by the bottom-up-attention ports, hloc, TRIDENT and transformers."""

BESIDE = {
    "region": ("counts", "offsets", "mask", "width", "height", "image_size", "sha256", "ids"),
    "token": ("offsets", "lengths", "mask", "sha256", "ids"),
    "sample": ("sha256", "ids"),
}
"""By the axis of a kind's features: what is read beside its arrays."""


def names_of(kind: str) -> tuple[str, ...]:
    """Return our names of all that is read of a source for a kind."""
    return (*(schema.name for schema in KINDS[kind]), *BESIDE[KINDS[kind][0].axis])


def check_map(asked: Asked) -> None:
    """Raise ValueError where `--map` names an array that the kind does not have."""
    if unknown := [name for name in asked.map if name not in names_of(asked.kind)]:
        raise ValueError(
            f"map: {asked.kind} features have the arrays {', '.join(names_of(asked.kind))}, not {', '.join(unknown)}"
        )


def candidates(name: str, asked: Asked) -> tuple[str, ...]:
    """Return the names under which a source may have an array, the most likely first."""
    if name in asked.map:
        return (asked.map[name],)
    return (name, *(ALIASES.get(name, VECTORS if name == asked.kind else ())))


def known(asked: Asked) -> set[str]:
    """Return every name that an array which is read may have."""
    return {one for name in names_of(asked.kind) for one in candidates(name, asked)}


def main_names(asked: Asked) -> tuple[str, ...]:
    """Return the names that the features themselves may have."""
    return candidates(asked.kind, asked)


def found_names(there: Iterable[str], asked: Asked) -> dict[str, str]:
    """Return our names -> those of a source, for the arrays that it has."""
    there = set(there)
    firsts = ((name, candidates(name, asked)) for name in names_of(asked.kind))
    return {name: next(one for one in many if one in there) for name, many in firsts if there.intersection(many)}


def chosen(arrays: Mapping[str, object], asked: Asked) -> dict[str, str]:
    """Return our names -> those of a sample's arrays, the features themselves among them.

    Raises:
        BadFile: it has no such features, or lacks an array that `--map` names.
    """
    found = found_names(arrays, asked)
    if missing := [theirs for ours, theirs in asked.map.items() if ours != "ids" and ours not in found]:
        raise BadFile(f"has no {', '.join(missing)}")
    check_main(arrays, asked)
    return found


def check_main(there: Iterable[str], asked: Asked) -> None:
    """Raise BadFile where no array has a name that the features themselves may have."""
    there = list(there)
    if set(main_names(asked)).isdisjoint(there):
        listed = ", ".join(sorted(there)[:8]) or "nothing"
        raise BadFile(
            f"has no array that is known as {asked.kind}, only {listed}: name one with --map {asked.kind}=NAME"
        )
