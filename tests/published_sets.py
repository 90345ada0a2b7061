"""Small folders of the published data sets, in the form of their real files: headers, line ends and quirks of those."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image


def picture(path: Path, number: int = 0) -> None:
    """Draw a picture in one of three colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 24), [(200, 30, 30), (30, 200, 30), (30, 30, 200)][number % 3]).save(path)


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(errors="surrogateescape"))


def msed(root: Path, rows: Callable[[str], Sequence[Sequence[str]]]) -> Path:
    """Write MSED: title, caption, sentiment, emotion and desire of each row of a part."""
    for part, folder in (("train", "train"), ("val", "dev"), ("test", "test")):
        path = root / folder / f"{folder}.csv"
        path.parent.mkdir(parents=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["Title", "Caption", "Sentiment", "Emotion", "Desire", "Inference Sequence"])
            writer.writerows([*row, "S-E-D"] for row in rows(part))
        for number in range(1, len(rows(part)) + 1):
            picture(root / folder / "images" / f"{number}.jpg", number)
    return root


def hfm(root: Path, lines: dict[str, list[str]]) -> Path:
    """Write HFM: its lines as they are given, with the CRLF of the real files; a picture for each id in quotes."""
    for part, file in (("train", "train"), ("val", "valid2"), ("test", "test2")):
        write(root / "text" / f"{file}.txt", "".join(line + "\r\n" for line in lines[part]))
        for number, line in enumerate(lines[part]):
            if line[:2] == "['":
                picture(root / "dataset_image" / f"{line[2:].partition(chr(39))[0]}.jpg", number)
    return root


def mmsd2(root: Path, items: dict[str, object]) -> Path:
    """Write MMSD2.0: a JSON array a part, on one line."""
    for part, file in (("train", "train"), ("val", "valid"), ("test", "test")):
        write(root / "data" / "text_json_final" / f"{file}.json", json.dumps(items[part]))
    return root


def tumemo(root: Path, lines: dict[str, list[object]]) -> Path:
    """Write TumEmo: a JSON object a line."""
    for part in ("train", "val", "test"):
        content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines[part])
        write(root / "data" / "all_anno_json" / f"{part}_all_anno.json", content)
    return root


def twitter(root: Path, lines: dict[str, list[str]], folder: str = "absa_data/twitter2015") -> Path:
    """Write Twitter-15 or Twitter-17: its lines as they are given, under the real first lines."""
    head = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String"
    for part, file in (("train", "train"), ("val", "dev"), ("test", "test")):
        first = head if part != "test" else "index\t#1 ImageID\t#2 String\t#2 String"  # the label is missing there
        write(root / folder / f"{file}.tsv", "".join(line + "\n" for line in [first, *lines[part]]))
    return root


def memotion(root: Path, rows: Sequence[Sequence[str]]) -> Path:
    """Write Memotion 7k: image, recognised text, corrected text, and the five labels of each row."""
    root.mkdir(parents=True, exist_ok=True)
    labels = ["humour", "sarcasm", "offensive", "motivational", "overall_sentiment"]
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", "image_name", "text_ocr", "text_corrected", *labels])
        writer.writerows([number, *row] for number, row in enumerate(rows))
    return root
