"""MMSD2.0: HFM without its giveaways and with corrected labels, in its authors' own layout.

Qin et al.: MMSD2.0: Towards a Reliable Multi-modal Sarcasm Detection System, Findings of ACL 2023;
https://github.com/JoeYing1019/MMSD2.0.
"""

from __future__ import annotations

from ....tabular.annotations import json_array
from ..samples import DataSet, DataSetSource
from .hfm import CLASSES, sarcasm
from .published import Pair, Place, Values, find, first_there, read_published, rows_in, string

FILES = {part: f"data/text_json_final/{file}.json" for part, file in
         (("train", "train"), ("val", "valid"), ("test", "test"))}  # fmt: skip
IMAGES = ("data/dataset_image", "dataset_image")
PLACE = Place(
    (FILES["train"],),
    f"a folder with data/text_json_final/train.json, valid.json, test.json and {IMAGES[0]}/{{image_id}}.jpg",
    "get https://github.com/JoeYing1019/MMSD2.0 with the images that its page links, and name its folder with --root",
)


def read(source: DataSetSource) -> DataSet:
    """Read the data set, for `open_dataset`."""
    root = find(PLACE, source)
    images = first_there(root, IMAGES)

    def pair_of(part: str | None, number: int, values: Values) -> Pair:
        id = string(values, "image_id")
        return Pair(id, f"{images}/{id}.jpg", string(values, "text"), sarcasm(values))

    files = {file: (part, rows_in(root / file, json_array)) for part, file in FILES.items()}
    return read_published(source, root, files, pair_of, CLASSES)
