"""HFM, sarcasm in tweets with an image (also MMSD), in its authors' own layout: a Python list a line.

Cai, Cai, Wan: Multi-Modal Sarcasm Detection in Twitter with Hierarchical Fusion Model, ACL 2019;
https://github.com/headacheboy/data-of-multimodal-sarcasm-detection.
"""

from __future__ import annotations

from functools import partial

from ....tabular.annotations import literals
from ..samples import DataSet, DataSetSource
from .published import Pair, Place, Values, find, first_there, read_published, rows_in, string

CLASSES = ("non-sarcastic", "sarcastic")
"""The names of 0 and 1."""

FILES = {"train": "text/train.txt", "val": "text/valid2.txt", "test": "text/test2.txt"}
COLUMNS = {
    "train": ("id", "text", "label"),
    "val": ("id", "text", "hashtag", "label"),  # the label by hashtag, then an annotator's, which counts
    "test": ("id", "text", "hashtag", "label"),
}
IMAGES = ("dataset_image", "data/dataset_image", "images")
PLACE = Place(
    ("text/train.txt",),
    f"a folder with {', '.join(FILES.values())} and {IMAGES[0]}/{{id}}.jpg",
    "get the texts from https://github.com/headacheboy/data-of-multimodal-sarcasm-detection and the images from the "
    "links on that page, and name the folder with --root",
)

GIVEAWAYS = frozenset(
    ["exgag", "sarcasm", "sarcastic", "reposting", "<url>", "joke", "humour", "humor", "jokes", "irony", "ironic"]
)
"""The words whose posts the authors leave out; there are no images of them."""

GIVEN_AWAY = "a word such as sarcasm or <url>, whose posts the authors leave out"


def read(source: DataSetSource) -> DataSet:
    """Read the data set, for `open_dataset`."""
    root = find(PLACE, source)
    images = first_there(root, IMAGES)

    def pair_of(part: str | None, number: int, values: Values) -> Pair | str:
        id, text = string(values, "id"), string(values, "text")
        if GIVEAWAYS.intersection(text.split()):
            return GIVEN_AWAY
        return Pair(id, f"{images}/{id}.jpg", text, sarcasm(values))

    files = {
        file: (part, rows_in(root / file, partial(literals, columns=COLUMNS[part]))) for part, file in FILES.items()
    }
    return read_published(source, root, files, pair_of, CLASSES)


def sarcasm(values: Values) -> str:
    """Return the class of a row's `label`; another value than 0 and 1 is no class."""
    label = string(values, "label")
    return dict(zip("01", CLASSES, strict=True)).get(label, label)
