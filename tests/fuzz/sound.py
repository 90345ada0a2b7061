"""The sound files that are mutated, made in code: each function writes some folders below the one it is given."""

from __future__ import annotations

import csv
import io
import json
import pickle
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itin.cache import open_store, read_table

from .. import published_sets
from ..conftest import draw
from ..extract import forms
from ..features import identity, make_cache, make_data, make_run, make_store, rows

HTML = b"<!DOCTYPE html>\n<html><head><title>Not found</title></head><body><img src='a.jpg'></body></html>\n"


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# Pictures ------------------------------------------------------------------------------------------------------------


def pictures(kind: str) -> Callable[[Path], None]:
    """Pictures of one kind in each mode and way of writing it that Pillow has."""

    def write(folder: Path) -> None:
        for number, (mode, options) in enumerate(WAYS[kind]):
            pixels = np.random.default_rng(number).integers(0, 256, (18, 24, 4), np.uint8)
            image = Image.fromarray(pixels, "RGBA").convert(mode.partition("+")[0])
            out = io.BytesIO()
            image.save(out, kind, **options)
            put(folder / str(number) / "picture", out.getvalue())

    return write


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "a day"
    return exif.tobytes()


_FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (24, 18), colour) for colour in ("red", "blue")]}
WAYS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "JPEG": [
        ("RGB", {}),
        ("L", {"progressive": True}),
        ("CMYK", {"quality": 30}),
        ("RGB", {"exif": _exif(6), "subsampling": 0, "icc_profile": b"x" * 200}),
        ("RGB", {"restart_marker_rows": 1, "comment": b"hello"}),
    ],
    "PNG": [
        ("RGB", {}),
        ("RGBA", {}),
        ("P", {"transparency": b"\0\x80\xff"}),
        ("1", {}),
        ("LA", {"exif": _exif(5)}),
        ("I;16", {}),
        ("RGB", {**_FRAMES, "duration": 10}),
        ("L", {"transparency": 3, "dpi": (72, 72), "icc_profile": b"x" * 99}),
    ],
    "WEBP": [
        ("RGB", {}),
        ("RGBA", {"lossless": True}),
        ("RGB", {"exif": _exif(8), "icc_profile": b"x" * 64}),
        ("RGB", {**_FRAMES, "duration": 10}),
    ],
    "GIF": [
        ("P", {}),
        ("L", {"interlace": 1, "comment": b"hello"}),
        ("RGB", _FRAMES),
        ("P", {"transparency": 3}),
    ],
    "BMP": [("RGB", {}), ("P", {}), ("L", {}), ("1", {})],
    "TIFF": [
        ("RGB", {}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("L", {"compression": "tiff_adobe_deflate"}),
        ("RGB", {"compression": "jpeg"}),
        ("1", {"compression": "group4"}),
        ("1", {"compression": "group3"}),
        ("RGBA", {"compression": "packbits", "exif": _exif(6)}),
        ("I;16", {}),
        ("CMYK", {}),
        ("P", {}),
        ("RGB", {**_FRAMES, "compression": "tiff_lzw"}),
        ("RGB", {"big_tiff": True}),
        ("YCbCr", {"compression": "jpeg"}),
    ],
}


def web_pages(folder: Path) -> None:
    """Web pages in place of pictures, also behind the first bytes of one."""
    starts = (
        b"",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"RIFF\0\0\0\0WEBP",
        b"II*\0\x08\0\0\0",
        b"BM",
        b"\n\n ",
    )
    for number, start in enumerate(starts):
        put(folder / str(number) / "picture", start + HTML)


# Tables of pairs -----------------------------------------------------------------------------------------------------


def _table(folder: Path, name: str, content: str) -> None:
    for number in range(3):
        put(folder / f"{number}.png", forms.picture(number))
    put(folder / name, content.encode())


ROWS = [
    ("1", "0.png", "a day, “ça va”", "joy", "0.5"),
    ("2", "1.png", 'two "lines"\nhere', "anger", "-1"),
    ("3", "2.png", "=x", "joy", "1e-3"),
]
COLUMNS = ("id", "image", "text", "label", "score")


def table(ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        out = io.StringIO(newline="")
        if ending == "jsonl":
            out.write("".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in ROWS))
        else:
            writer = csv.writer(out, delimiter="\t" if ending == "tsv" else ",")
            writer.writerows([COLUMNS, *ROWS])
        _table(folder / "one", f"pairs.{ending}", out.getvalue())

    return write


def parquet(folder: Path) -> None:
    for form in ("struct", "binary", "path"):
        forms.as_parquet(folder / form, forms.pairs(4), form, rows=2)


def tars(folder: Path) -> None:
    forms.as_tars(folder / "ustar", forms.pairs(4))
    long = [one._replace(id="a" * 120 + str(number)) for number, one in enumerate(forms.pairs(3))]
    forms.as_tars(folder / "pax", long)


def saved(folder: Path) -> None:
    forms.as_saved(folder / "arrow", forms.pairs(4))
    forms.as_saved(folder / "parquet", forms.pairs(4), parquet=True)


def _in_each(rows: list[Any]) -> dict[str, Any]:
    """The same rows in each part."""
    return {"train": rows, "val": rows, "test": rows}


def published(folder: Path) -> None:
    """The data sets of others in their own layouts; a folder's name is that of the data set."""
    draw(folder / "mvsa-single", 4)
    draw(folder / "mvsa-multiple", 4, annotators=3)
    msed = [("t", "a caption, long", "positive", "happiness", "curiosity"), ("u", "b", "neutral", "neutral", "none")]
    published_sets.msed(folder / "msed", lambda part: msed)
    published_sets.hfm(folder / "hfm", _in_each(["['7', 'it is', 1]", "['8', \"that's\", 0, 0]"]))
    items = [{"image_id": "7", "text": "fine", "label": 1}, {"image_id": "8", "text": "x", "label": 0}]
    published_sets.mmsd2(folder / "mmsd2", _in_each(items))
    line: list[object] = [{"id": "7", "text": "a", "label": "happy", "image": "x/7.jpg"}]
    published_sets.tumemo(folder / "tumemo", _in_each(line))
    published_sets.twitter(folder / "twitter-2015", _in_each(["1\t2\t7.jpg\tat $T$ now\tHome"]))
    for name in ("mmsd2/data/dataset_image", "twitter-2015/twitter2015_images", "memotion/images", "tumemo/x"):
        published_sets.picture(folder / name / "7.jpg")
    meme = [["7.jpg", "OCR", "text", "funny", "general", "not_offensive", "motivational", "very_positive"]] * 2
    published_sets.memotion(folder / "memotion", meme)


# Features of other tools ---------------------------------------------------------------------------------------------


def exported(to: str, ending: str, *kinds: str) -> Callable[[Path], None]:
    """The samples of a store of each kind as `itin cache export` writes them; a folder's name is that of the kind."""

    def write(folder: Path) -> None:
        from itin.cache.export.export import export

        made = make_data(folder / "made", 3)
        for kind in kinds:
            (folder / kind).mkdir()
            export(
                open_store(next((made.cache / "made-up").glob(f"{kind}-*"))), folder / kind / f"features{ending}", to=to
            )
        shutil.rmtree(folder / "made")

    return write


def arrays(folder: Path) -> None:
    """`.npz` and `.npy`: packed with ids, a file a sample, an array a sample."""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    (folder / "context" / "one").mkdir(parents=True)
    np.savez(folder / "context" / "packed.npz", ids=np.array(["1", "2", "3"]), context=x)
    np.savez_compressed(folder / "context" / "one" / "7.npz", features=x[0])
    np.save(folder / "context" / "one" / "8.npy", x[1].astype(np.float16))
    (folder / "tokens").mkdir()
    np.savez(folder / "tokens" / "p.npz", ids=np.array(["1", "2"]), tokens=x, offsets=np.array([0, 1, 3]))


def pickles(folder: Path) -> None:
    """MMSA's pickle, a sample's and one of parts."""
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    part = {"id": ["1", "2"], "text": x, "vision": x[:, 0], "text_bert": np.ones((2, 3, 3)), "raw_text": ["a", "b"]}
    put(folder / "tokens" / "parts.pkl", pickle.dumps({"train": part, "valid": part}, protocol=4))
    put(folder / "tokens" / "two.pkl", pickle.dumps({"text": x[0], "id": "7"}, protocol=2))
    put(folder / "context" / "parts.pkl", pickle.dumps({"train": part}, protocol=5))


def hdf5(folder: Path) -> None:
    """hloc's groups, TRIDENT's compressed arrays, packed arrays with texts of any length."""
    import h5py

    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    for name in ("context", "regions"):
        (folder / name).mkdir(parents=True)
    with h5py.File(folder / "context" / "global.h5", "w") as file:
        for n, id in enumerate(("db/1.jpg", "db/2.jpg")):
            file.create_group(id)["global_descriptor"] = x[n]
    with h5py.File(folder / "context" / "packed.h5", "w") as file:
        file["names"] = ["a", "bc", "日本"]
        file.create_dataset(
            "x", data=x[:3].astype(">f8"), chunks=(1, 4), compression="gzip", fletcher32=True, shuffle=True
        )
    with h5py.File(folder / "regions" / "7.h5", "w", libver="latest") as file:
        file.create_dataset("features", data=x[None], chunks=(1, 2, 4), compression="lzf")
        file["scores"], file["coords"] = np.ones(6, np.float32), np.zeros((6, 2), np.int64)
        file.attrs["made"] = "by another"


# Weights -------------------------------------------------------------------------------------------------------------


def weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = {
        "a.weight": torch.arange(6.0).reshape(2, 3),
        "a.bias": torch.zeros(2, dtype=torch.float16),
        "n": torch.tensor(3),
    }
    for name, old in (("zip.pth", False), ("old.pth", True)):
        (folder / name).mkdir(parents=True)
        torch.save(
            {"model": OrderedDict(state), "epoch": 3}, folder / name / name, _use_new_zipfile_serialization=not old
        )
    (folder / "safe").mkdir()
    save_file(state, folder / "safe" / "model.safetensors", {"format": "pt"})
    plain = {name: value.numpy() for name, value in state.items()}
    for protocol in (2, 4):
        put(folder / f"pickle{protocol}" / "model.pkl", pickle.dumps({"model": plain}, protocol=protocol))


def configs(folder: Path) -> None:
    """What is read beside weights, tables and clusters: a folder's name says by which reader."""
    put(
        folder / "object" / "config.json",
        json.dumps({"hidden": 8, "words": ["a", "b"], "deep": {"x": [1, 2.5]}}).encode(),
    )
    put(folder / "names" / "objects_vocab.txt", "".join(f"thing {n},synonym\n" for n in range(5)).encode())
    put(
        folder / "record" / "weights.json",
        json.dumps({"files": {"a.bin": {"sha256": "0" * 64, "repo": "x/y"}}}).encode(),
    )
    put(folder / "card" / "README.md", b"---\nlicense: other\nlicense_name: mine\ntags:\n- a\n---\n\n# A model\n")
    put(
        folder / "site" / "site.yaml",
        b"partition: gpu\ntime: 2:00:00\nsbatch_options:\n- --account=lab\nwarn: 30\nat_once: 4\n",
    )
    submission = {"id": "ab", "engine": "slurm", "work": "extract", "words": ["--limit", "3"], "parts": 2, "retries": 1}
    submission |= {"at_once": None, "stores": ["x"], "limit": 3, "created": 1.5, "directory": "/", "config": {}}
    put(folder / "submission" / "submission.json", json.dumps(submission).encode())
    for ending, mark in (("csv", ","), ("tsv", "\t")):
        put(
            folder / f"split-{ending}" / f"split.{ending}",
            f"id{mark}part\n1{mark}train\n2{mark}val\n3{mark}test\n".encode(),
        )
    put(folder / "split-jsonl" / "split.jsonl", b'{"id": "1", "part": "train"}\n{"id": 2, "split": "dev"}\n')
    put(folder / "ids" / "ids.txt", "1\n2\n日本\n".encode())
    (folder / "ids-npy").mkdir()
    np.save(folder / "ids-npy" / "ids.npy", np.array(["1", "2", "日本"]))


# Results -------------------------------------------------------------------------------------------------------------


def runs(folder: Path) -> None:
    """A run of each kind of head, and what `itin export` makes of one."""
    from itin.export.folder import head_files
    from itin.train.runs.folder import load_run

    made = make_data(folder / "made", 24, votes=True)
    make_run(made, folder / "itin", epochs=1)
    make_run(made, folder / "linear", epochs=1, head="linear")
    make_run(made, folder / "number", epochs=1, head="text-only", target="intensity+label")
    for name, data in head_files(load_run(folder / "linear"), with_encoders=True).items():
        put(folder / "exported" / name, data)
    shutil.rmtree(folder / "made")


def sweeps(folder: Path) -> None:
    from click.testing import CliRunner

    from itin.cli import main

    cache = make_cache(folder / "cache", 24)
    words = f"sweep --cache {cache} --out {folder / 'sweep'} --device cpu --workers 1 --stack 2 --reveal-test"
    head = "--head text-only --d 4 --k 4 --hidden 4 --epochs 1 --batch-size 8 --lr 0.01,0.02"
    done = CliRunner().invoke(main, [*words.split(), *head.split()])
    assert done.exit_code == 0, done.output
    shutil.rmtree(cache)


# The cache -----------------------------------------------------------------------------------------------------------


def stores(folder: Path) -> None:
    """A small store of each kind with one sample in quarantine."""
    for kind in ("regions", "tokens", "context"):
        made = make_store(folder / "made", identity(kind, dtype="float16"), rows(7), size=3, quarantine=["id-4"])
        made.path.rename(folder / made.path.name)
    shutil.rmtree(folder / "made")


def cache_tables(folder: Path) -> None:
    made = make_data(folder / "made", 5, votes=True)
    data = made.cache / "made-up"
    assert len(read_table(data).samples) == 5
    (folder / "one").mkdir()
    for name in ("dataset.json", "samples.jsonl", "quarantine.jsonl"):
        shutil.copy(data / name, folder / "one")
    shutil.rmtree(folder / "made")


def model(folder: Path) -> None:
    """A small BERT in files."""
    from ..fixtures.make import make_berts

    (folder / "made").mkdir()
    make_berts(folder / "made")
    (folder / "made" / "file-bert").rename(folder / "file-bert")
    shutil.rmtree(folder / "made")
