"""TumEmo: seven emotions of Tumblr posts, in its authors' own layout.

Yang et al.: Multimodal Sentiment Detection Based on Multi-channel Graph Neural Networks, ACL 2021;
https://github.com/YangXiaocui1215/MGNNS.
"""

from __future__ import annotations

from ..samples import DataSet, DataSetSource
from .published import Pair, Place, Values, find, read_published, rows_in, string

CLASSES = ("angry", "bored", "calm", "fear", "happy", "love", "sad")
FILES = {part: f"data/all_anno_json/{part}_all_anno.json" for part in ("train", "val", "test")}
PLACE = Place(
    (FILES["train"],),
    "a folder with data/all_anno_json/{train,val,test}_all_anno.json and the images at the paths that these name, "
    "data/image_data/{part}_image/{id}.jpg",
    "get https://github.com/YangXiaocui1215/MGNNS, ask its authors for the images, and name its folder with --root",
)


def read(source: DataSetSource) -> DataSet:
    """Read the data set, for `open_dataset`."""
    root = find(PLACE, source)

    def pair_of(part: str | None, number: int, values: Values) -> Pair:
        id, image, text, label = (string(values, name) for name in ("id", "image", "text", "label"))
        return Pair(id, image, text, label)

    files = {file: (part, rows_in(root / file, ".jsonl")) for part, file in FILES.items()}
    return read_published(source, root, files, pair_of, CLASSES)
