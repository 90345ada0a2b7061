"""The names of the Visual Genome detector's objects and attributes: files of its authors, fetched with its weights."""

from __future__ import annotations

from pathlib import Path

from ...errors import WeightsError, first_line
from ...paths import weights_root
from .download import download

OBJECTS_FILE = "objects_vocab.txt"
ATTRIBUTES_FILE = "attributes_vocab.txt"

SOURCE = (
    "https://raw.githubusercontent.com/airsplay/py-bottom-up-attention/85ec9b77bb57c125d6d604305bb525d9f50692be"
    "/demo/data/genome/1600-400-20"
)
"""The folder that LXMERT's demonstration reads them from, at a fixed commit; the files are those of the original
bottom-up-attention, byte by byte."""

SHA256 = {
    OBJECTS_FILE: "d985096938db111f585a311ff0a2ee9092fbc325c3a619ac9622e57e5389722f",
    ATTRIBUTES_FILE: "19981b5a288f284c576545a21de78634f1a78c26b6949f7acf12b924739fdc66",
}


def fetch_names() -> str | None:
    """Download the files that are not in the weights folder; return why that failed, or None."""
    for file, sha256 in SHA256.items():
        path = weights_root() / file
        if not path.exists():
            try:
                download(f"{SOURCE}/{file}", path, sha256, f"the names in {file}", f"put {SOURCE}/{file} there")
            except WeightsError as error:
                return f"{first_line(error)}; ids are shown instead"
    return None


def names_beside(weights: Path, file: str) -> Path | None:
    """Return the file of names that goes with a checkpoint: beside it, or in the weights folder for the hub's."""
    folders = [weights.parent, *([weights_root()] if weights.parent.parent.name == "snapshots" else [])]
    return next((folder / file for folder in folders if (folder / file).is_file()), None)
