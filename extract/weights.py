"""Where each encoder's weights are looked for, what is there, and how to get them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub
import torch

from ..errors import WeightsError
from ..paths import weights_root
from ..weights_file import UnsoundFile, form_of
from .pretrained import weight_files
from .resnet import weights_path, weights_url
from .tokens import BERT_BASE

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
"""Names under which a checkpoint of the detector is found in the weights folder, in this order."""

DETECTOR_SOURCES = (
    "https://huggingface.co/unc-nlp/frcnn-vg-finetuned (pytorch_model.bin), "
    "https://github.com/airsplay/py-bottom-up-attention (faster_rcnn_from_caffe_attr.pkl) or "
    "https://github.com/MILVLG/bottom-up-attention.pytorch (bua-caffe-frcn-r101.pth)"
)


@dataclass(frozen=True)
class Needed:
    """What one encoder needs."""

    encoder: str
    needs: str
    looked_in: str
    found: Path | None
    how: str

    def sha256(self) -> str | None:
        """SHA-256 of the file that was found."""
        if self.found is None:
            return None
        digest = hashlib.sha256()
        with self.found.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def fault(self) -> str | None:
        """Return what the file that was found is instead of weights, by its first bytes and length; None if sound."""
        return None if self.found is None else _fault(self.found)


def find_detector_weights(given: str | None) -> Path:
    """The detector's checkpoint: the file that was named, else the first known name in the weights folder.

    Raises:
        WeightsError: there is none; says how to get one.
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
        "\n            or try untrained encoders with --random-init 0",
    )


def needed(detector_weights: str | None = None, text_encoder: str = BERT_BASE) -> list[Needed]:
    """What every encoder needs, where it is looked for, and what was found. Nothing is downloaded."""
    try:
        detector: Path | None = find_detector_weights(detector_weights)
    except WeightsError:
        detector = None
    looked = detector_weights or f"{weights_root()} ({', '.join(DETECTOR_FILES)})"
    rows = [Needed("vg-frcnn", "Visual Genome Faster R-CNN", looked, detector, f"get it from {DETECTOR_SOURCES}")]
    for encoder, model in (("grid", "resnet50"), ("grid-resnet18", "resnet18"), ("resnet18", "resnet18")):
        path = weights_path(model)
        how = f"downloaded when first used; by hand: {weights_url(model)}"
        rows.append(
            Needed(encoder, f"{model}, ImageNet", str(Path(torch.hub.get_dir()) / "checkpoints"), _file(path), how)
        )
    rows.append(_text(text_encoder))
    return rows


def _text(name: str) -> Needed:
    try:
        files = weight_files(name)
    except WeightsError as error:
        return Needed(name, "BERT-like model", name, None, str(error))
    found = next((path for path in files if _fault(path)), files[0] if files else None)
    if Path(name).is_dir():
        return Needed(name, "BERT-like model", name, found, "put model.safetensors and tokenizer.json into the folder")
    place = str(huggingface_hub.constants.HF_HUB_CACHE)
    return Needed(name, "BERT-like model", place, found, f"downloaded when first used; by hand: hf download {name}")


def _fault(path: Path) -> str | None:
    try:
        form_of(path)
    except UnsoundFile as fault:
        return fault.found
    return None


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None
