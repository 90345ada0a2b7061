"""The weights of the Visual Genome detector: where they are searched for, and how they are fetched."""

from __future__ import annotations

from pathlib import Path

from ...errors import WeightsError
from ...paths import weights_root
from .download import offline
from .hub import CARD, cached, fetch_model
from .names import SHA256, fetch_names, names_beside
from .origin import check_digest
from .requirement import OTHERWISE, WeightsRequirement

REPO = "unc-nlp/frcnn-vg-finetuned"
"""The detector's name on the Hugging Face hub."""
HUB_FILE = "pytorch_model.bin"
"""Its weights there. Its config.yaml is not needed: the recipe `hf` holds what affects a number."""

DETECTOR_FILES = (
    "vg-frcnn.safetensors",
    "vg-frcnn.bin",
    "vg-frcnn.pth",
    "vg-frcnn.pkl",
    "faster_rcnn_from_caffe_attr.pkl",
    "faster_rcnn_from_caffe_attr_original.pkl",
    "bua-caffe-frcn-r101.pth",
    "bua-d2-frcn-r101.pth",
    "pytorch_model.bin",
)
"""File names of the detector's checkpoint in the weights folder; the first that exists is used."""

DETECTOR_SOURCES = (
    "https://huggingface.co/unc-nlp/frcnn-vg-finetuned (pytorch_model.bin), "
    "https://github.com/airsplay/py-bottom-up-attention (faster_rcnn_from_caffe_attr.pkl) or "
    "https://github.com/MILVLG/bottom-up-attention.pytorch (bua-caffe-frcn-r101.pth)"
)


def detector_needs(given: str | None) -> WeightsRequirement:
    """Return the weights that the detector needs; `given` as for `find_detector_weights`."""
    try:
        found: Path | None = find_detector_weights(given)
    except WeightsError:
        found = None
    files = {} if found is None else {found.name: found}
    for name in SHA256 if found is not None else ():
        beside = names_beside(found, name) if found is not None else None
        files |= {} if beside is None else {name: beside}
    looked = given or f"{weights_root()} ({', '.join(DETECTOR_FILES)}), then the Hugging Face cache"
    return WeightsRequirement(
        "vg-frcnn",
        "Visual Genome Faster R-CNN",
        looked,
        found,
        f"downloaded when first used ({REPO}); by hand: {DETECTOR_SOURCES}",
        files,
        lambda: _fetch(given),
    )


def _fetch(given: str | None) -> str | None:
    get_detector_weights(given)
    return None if offline() else fetch_names()


def find_detector_weights(given: str | None) -> Path:
    """Return the detector's checkpoint, without a download: the file that was named, else the first known name in the
    weights folder, else the one in the hub's cache.

    Raises:
        WeightsError: there is none; the error says how to get one.
    """
    if given is not None:
        path = Path(given).expanduser()
        if path.is_file():
            return path
        raise WeightsError(
            f"{path} is not a file",
            expected="a checkpoint of the Visual Genome Faster R-CNN",
            next_step="`itin weights` says how to get one",
        )
    for name in DETECTOR_FILES:
        if (weights_root() / name).is_file():
            return weights_root() / name
    if (path_in_cache := cached(REPO, HUB_FILE)) is not None:
        return path_in_cache
    raise _missing("none were found")


def get_detector_weights(given: str | None) -> Path:
    """Return the detector's checkpoint, checked against its digest where that is known; downloaded if need be.

    Names of objects and attributes come with it where they can be had.

    Raises:
        WeightsError: there is none and it cannot be downloaded, or it is not the file that the hub names.
    """
    try:
        path = find_detector_weights(given)
    except WeightsError:
        if given is not None or offline():
            raise
        try:
            fetch_model(REPO, lambda files: [HUB_FILE, *({CARD} & set(files))])
        except WeightsError as error:
            raise _missing(f"none were found; {error.what}") from error
        fetch_names()
        path = find_detector_weights(given)
    check_digest(path)
    return path


def _missing(why: str) -> WeightsError:
    return WeightsError(
        f"the region encoder vg-frcnn needs the weights of the Visual Genome Faster R-CNN, and {why}",
        expected=f"--detector-weights FILE, or {weights_root() / DETECTOR_FILES[0]} (`itin weights` lists the names), "
        f"or a network to download {REPO}",
        next_step=f"get them from {DETECTOR_SOURCES};\n            or use --regions grid, which needs no detector;"
        f"\n            or {OTHERWISE}",
    )
