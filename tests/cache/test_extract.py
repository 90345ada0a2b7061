"""Two real `itin extract` on the same store at once, and what is made again after damage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from itin.cache import open_store, read_table
from itin.cache.upkeep.find import stores_of
from itin.cache.upkeep.repair import repair
from itin.cache.upkeep.verify import verify
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.extract.run import extract

Draw = Callable[..., Path]
PAIRS = 22


def start(root: Path, cache: Path) -> subprocess.Popen[str]:
    words = ["extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, "--only", "regions,context"]
    words += ["--regions", "grid-resnet18", "--random-init", "0", "--max-regions", "2", "--shard-size", "3"]
    words += ["--workers", "1", "--batch-size", "2", "--device", "cpu"]
    code = f"import sys; sys.argv = ['itin', *{list(map(str, words))!r}]; from itin.cli import main; main()"
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_two_extractions_at_once_make_one_good_store(tmp_path: Path, draw_mvsa: Draw) -> None:
    root, cache = draw_mvsa(tmp_path / "data", pairs=PAIRS), tmp_path / "cache"
    both = [start(root, cache) for _ in range(2)]
    for process in both:
        shown, _ = process.communicate()
        assert process.returncode == 0, shown
    folder = cache / "mvsa-single"
    table = read_table(folder)
    stores = stores_of(folder)
    assert [path.name.partition("-")[0] for path in stores] == ["context", "regions"]
    for path in stores:
        assert verify(path).problems == []
        store = open_store(path)
        assert store.manifest["complete"]
        assert len(store) == PAIRS
        rows = store.index(table.samples["id"].tolist(), table.samples["image_sha256"].tolist())
        assert (rows >= 0).all()
        assert np.isfinite(store.read(store.kind, rows)).all()
        assert sorted(entry.name for entry in path.iterdir() if not entry.name.startswith("shard-")) == [
            "manifest.json",
            "plan.json",
        ]
    assert not list(folder.rglob("*lock*"))

    bad = stores[0] / "shard-00002.h5"
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 4
    bad.write_bytes(data)
    whole = {path: path.read_bytes() for path in folder.rglob("shard-*") if path != bad}
    assert repair(verify(stores[0])) == [bad]
    encoders = EncoderConfig(regions="grid-resnet18", random_init=0, max_regions=2)
    again = extract(
        ExtractConfig(
            "mvsa-single", root=root, cache=cache, only=("regions", "context"), encoders=encoders, device="cpu"
        )
    )
    assert [store.made for store in again.stores] == [0, 3]
    assert verify(stores[0]).problems == []
    assert {path: path.read_bytes() for path in folder.rglob("shard-*") if path != bad} == whole
