"""Twitter-15 and Twitter-17: the sentiment of a tweet with an image towards an aspect, a person or thing that it names.

Yu, Jiang: Adapting BERT for Target-Oriented Multimodal Sentiment Classification, IJCAI 2019;
https://github.com/jefferyYu/TomBERT. In a text `$T$` stands in the aspect's place.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import PurePosixPath

from ....labels import LABELS
from ....tabular.annotations import cells
from ..datasets import ASPECTS
from ..samples import DataSet, DataSetSource
from .published import Pair, Place, Values, find, first_there, read_published, rows_in, string

COLUMNS = ("index", "label", "image", "text", "aspect")
"""The cells of a row; the files' first lines name them otherwise, and not all of them."""

NUMBERS = {"0": "negative", "1": "neutral", "2": "positive"}
MASK = "$T$"
FILES = {"train": "train.tsv", "val": "dev.tsv", "test": "test.tsv"}
FOLDERS = {
    "twitter-2015": ("absa_data/twitter2015", "twitter2015"),
    "twitter-2017": ("absa_data/twitter", "twitter2017"),
}
"""The folders of the annotations: in the repository, in the archive with the images."""

IMAGES = {
    "twitter-2015": ("twitter2015_images", "twitter15_images"),
    "twitter-2017": ("twitter2017_images", "twitter_subimages"),
}


def read(source: DataSetSource) -> DataSet:
    """Read either data set, for `open_dataset`.

    A tweet has a sample for each of its aspects: the id is the image's name and a number that counts its rows.
    """
    folders, images = FOLDERS[source.kind], IMAGES[source.kind]
    place = Place(
        tuple(f"{folder}/train.tsv" for folder in folders),
        f"a folder with {folders[1]} (or {folders[0]}), which holds {', '.join(FILES.values())}, and {images[0]}",
        "get the archive with the images that https://github.com/jefferyYu/TomBERT links, and name its folder with "
        "--root",
    )
    root, way = find(place, source), source.aspect or ASPECTS[0]
    folder, pictures = first_there(root, folders), first_there(root, images)
    seen: Counter[str] = Counter()

    def pair_of(part: str | None, number: int, values: Values) -> Pair:
        image, text, aspect = (string(values, name).strip() for name in ("image", "text", "aspect"))
        name = PurePosixPath(image).stem
        seen[name] += 1
        if not aspect or MASK not in text:
            raise ValueError("no aspect" if not aspect else f"no {MASK} in the text")
        label = string(values, "label").strip()
        return Pair(f"{name}-{seen[name]}", f"{pictures}/{image}", spoken(text, aspect, way), NUMBERS.get(label, label))

    files = {}
    for part, file in FILES.items():
        path = f"{folder}/{file}"
        files[path] = (part, rows_in(root / path, partial(cells, columns=COLUMNS)))
    return read_published(source, root, files, pair_of, LABELS)


def spoken(text: str, aspect: str, way: str) -> str:
    """Return the text that is encoded.

    Args:
        text: a tweet with `$T$` in the aspect's place.
        aspect: the aspect.
        way: `pair`, the default: the text, [SEP] and the aspect, as TomBERT and its followers give BERT the two;
            `insert`: the aspect in its place, the tweet as it was written, so that all aspects of a tweet are one
            text; `keep`: the text alone, with `$T$`.
    """
    if way == "pair":
        return f"{text} [SEP] {aspect}"
    return text.replace(MASK, aspect) if way == "insert" else text
