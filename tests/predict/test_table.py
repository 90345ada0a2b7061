"""Predictions for a table: whole or absent, in its order, a line a row, and never over what is read."""

from __future__ import annotations

import csv
import errno
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from itin.cache.format.shard_write import FeatureError
from itin.cli import main
from itin.errors import DataError, ItinError, RunError
from itin.labels import LABELS
from itin.predict import Prediction, Predictor
from itin.predict.prediction import of_target
from itin.predict.table import check_out, predict_table
from itin.targets import Target

TARGET = Target(classes=LABELS)
COLUMNS = ["id", "predicted", "p_positive", "p_neutral", "p_negative", "error"]


class Fake:
    """A predictor that tells a pair by its image's brightness, and can be made to fail."""

    def __init__(self, run: Path) -> None:
        self.run = type("Run", (), {"path": run, "target": TARGET, "targets": [TARGET], "half_widths": {}})()
        self.asked = 0

    def predict(self, pairs: list[tuple[np.ndarray, str]]) -> list[Prediction]:
        self.asked += len(pairs)
        if any("wordless" in text for _, text in pairs):
            raise FeatureError("the text gives no WordPiece")
        shares = [float(image.mean()) / 255 for image, _ in pairs]
        return [
            Prediction("neutral", dict(zip(LABELS, (share, 1 - share, 0.0), strict=True)), text.split(), [])
            for share, (_, text) in zip(shares, pairs, strict=True)
        ]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "predictions.csv").write_text("kept")
    for i in range(100):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "1.png").read_bytes()[:50])
    return tmp_path


def predict(place: Path, table: str, out: str | Path = "out.csv", **more: Any) -> tuple[int, int]:
    return predict_table(cast(Predictor, Fake(place / "run")), place / table, place / out, **more)


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        found = list(reader)
    assert reader.fieldnames == COLUMNS
    return found


def untouched(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_line_for_each_row_in_their_order(place: Path) -> None:
    """Good rows and each kind of bad row, in every position of a chunk."""
    reasons = {
        3: "t.csv, line 5: malformed: 4 cells",
        31: "t.csv, line 33: no id",
        32: "image file is missing",
        33: "t.csv, line 35: id 30 is on an earlier line too",
        40: "text is empty",
        63: "lies outside the root",
        64: "the text gives no WordPiece",
        90: "cut.png",
    }
    own = {
        3: "x,3.png,a,b", 31: ",31.png,a", 32: "32,none.png,a", 33: "30,33.png,a", 40: "40,40.png, ",
        63: "63,../x.png,a", 64: "64,64.png,wordless", 90: "90,cut.png,a",
    }  # fmt: skip
    rows = [own.get(i, f"{i},{i}.png,text {i}") for i in range(100)]
    (place / "t.csv").write_text("\n".join(["id,image,text", *rows]))
    assert predict(place, "t.csv") == (92, 8)
    found = lines(place / "out.csv")
    assert len(found) == 100
    for i, line in enumerate(found):
        if i in reasons:
            assert line["predicted"] == line["p_positive"] == ""
            assert reasons[i] in line["error"] or i == 90
            assert line["error"]
        else:
            assert (line["id"], line["predicted"], line["error"]) == (str(i), "neutral", "")
            assert line["p_positive"] == f"{i / 255:.6f}"
    assert [found[i]["id"] for i in (3, 31, 32, 33, 90)] == ["line 5", "line 33", "32", "line 35", "90"]


@pytest.mark.parametrize("label", ["4", "happy", '"two\nlines"', ""])
def test_labels_are_not_looked_at(place: Path, label: str) -> None:
    (place / "t.csv").write_text(f"id,image,text,label\n1,1.png,a,{label}\n2,2.png,b,positive\n")
    assert predict(place, "t.csv") == (2, 0)
    (place / "t.jsonl").write_text('{"id": 1, "image": "1.png", "text": "a", "label": 4, "stars": [1]}\n')
    assert predict(place, "t.jsonl") == (1, 0)
    assert [line["id"] for line in lines(place / "out.csv")] == ["1"]


def test_columns_of_other_names(place: Path) -> None:
    (place / "t.tsv").write_text('key\tpic\ttweet\tmood\n1\t1.png\t"a\t4\n2\t2.png\tb"\t5\n')
    with pytest.raises(
        DataError, match=r"no column 'id'(.|\n)*expected: columns id, image, text\n(.|\n)*--columns id=key"
    ):
        predict(place, "t.tsv")
    names = {"id": "key", "image": "pic", "text": "tweet"}
    assert predict(place, "t.tsv", columns=names) == (2, 0)
    assert predict(place, "t.tsv", columns={**names, "label": "gone"}) == (2, 0)
    with pytest.raises(ValueError, match=r"columns: expected names of id, image, text, .*got body"):
        predict(place, "t.tsv", columns={"body": "tweet"})


def test_the_table_is_never_written_over(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "id,image,text\n1,1.png,a\n"
    (place / "t.csv").write_text(text)
    (place / "link.csv").symlink_to("t.csv")
    (place / "again").symlink_to(place)
    os.link(place / "t.csv", place / "hard.csv")
    monkeypatch.chdir(place / "run")
    spellings = ["t.csv", "link.csv", "hard.csv", "again/t.csv", "run/../t.csv", "../" + place.name + "/./t.csv"]
    before = untouched(place)
    for table in ("t.csv", "link.csv"):
        for out in [*(place / one for one in spellings), Path("../t.csv")]:
            fake = Fake(place / "run")
            with pytest.raises(DataError, match=r"--out .* is the table itself\n(.|\n)*choose another file with --out"):
                predict_table(cast(Predictor, fake), place / table, out)
            assert fake.asked == 0
    assert (place / "t.csv").read_text() == text
    assert untouched(place) == before
    for kept in ("run/predictions.csv", "again/run/predictions.csv"):
        with pytest.raises(DataError, match=r"--out .* is a file of the run"):
            predict(place, "t.csv", kept)
    assert (place / "run" / "predictions.csv").read_text() == "kept"
    assert predict(place, "t.csv", "run/new.csv") == (1, 0)


def test_a_place_that_cannot_be_written_is_told_first(place: Path) -> None:
    (place / "t.csv").write_text("id,image,text\n1,1.png,a\n")
    for out, reason in (
        ("none/out.csv", "No such file or directory"),
        ("t.csv/out.csv", "Not a directory"),
        ("run", "Is a directory"),
    ):
        with pytest.raises(
            RunError, match=rf"cannot write .*{out}: {reason}\n.*folder .*\n.*choose another file with --out"
        ):
            check_out(place / out, place / "t.csv", place / "run")
        fake = Fake(place / "run")
        with pytest.raises(RunError, match="cannot write"):
            predict_table(cast(Predictor, fake), place / "t.csv", place / out)
        assert fake.asked == 0


class Full:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        self.file.write(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("old", [None, "older predictions"])
def test_a_full_disk_leaves_no_half_file(place: Path, monkeypatch: pytest.MonkeyPatch, old: str | None) -> None:
    (place / "t.csv").write_text("id,image,text\n" + "".join(f"{i},{i}.png,a\n" for i in range(99)))
    if old is not None:
        (place / "out.csv").write_text(old)
    before = untouched(place)
    real = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", *a, **k: Full(real(path, mode)) if mode == "wb" else real(path, mode, *a, **k),
    )
    with pytest.raises(RunError, match=r"cannot write .*out.csv: No space left on device\n.*choose another file with"):
        predict(place, "t.csv")
    assert untouched(place) == before
    assert old is None or (place / "out.csv").read_text() == old


def test_a_failure_on_the_way_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "t.csv").write_text("id,image,text\n" + "".join(f"{i},{i}.png,a\n" for i in range(99)))
    before = untouched(place)
    real = Fake.predict

    def dies(self: Fake, pairs: Any) -> Any:
        if self.asked > 40:
            raise MemoryError
        return real(self, pairs)

    monkeypatch.setattr(Fake, "predict", dies)
    with pytest.raises(MemoryError):
        predict(place, "t.csv")
    assert untouched(place) == before


def test_links_and_pipes_stay_what_they_are(place: Path) -> None:
    (place / "t.csv").write_text("id,image,text\n1,1.png,a\n")
    (place / "out.csv").symlink_to(place / "run" / "elsewhere.csv")
    for _ in range(2):
        assert predict(place, "t.csv") == (1, 0)
        assert (place / "out.csv").is_symlink()
        assert len(lines(place / "run" / "elsewhere.csv")) == 1
    os.mkfifo(place / "pipe")
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append((place / "pipe").read_bytes()))
    thread.start()
    assert predict(place, "t.csv", "pipe") == (1, 0)
    thread.join()
    assert read[0].splitlines()[1].startswith(b"1,neutral,")
    assert (place / "pipe").is_fifo()


def test_a_full_standard_output(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "t.csv").write_text("id,image,text\n1,1.png,a\n")
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(RunError, match="cannot write /dev/full: No space left on device"):
        predict(place, "t.csv", "/dev/full")
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(ItinError, match="cannot print the predictions: No space left on device"):
            predict_table(cast(Predictor, Fake(place / "run")), place / "t.csv", None)
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            full.close()


def test_options_that_need_a_table(tmp_path: Path) -> None:
    for more in (["--out", "x.csv"], ["--columns", "id=key"], ["--allow-outside"]):
        done = CliRunner().invoke(main, ["predict", str(tmp_path), "--image", "a.jpg", "--text", "a", *more])
        assert done.exit_code == 2
        assert "--out, --columns and --allow-outside go with --table FILE" in done.output


# Other targets -------------------------------------------------------------------------------------------------------


def test_numbers_have_their_interval_and_further_targets_their_name(place: Path) -> None:
    """An interval ends where the target's span does; a class named like another target's column stays apart."""
    intensity, kind = Target("intensity", "number", span=(-1.0, 1.0)), Target("kind", classes=("a, b", 'c"d'))
    other = Target("other", "number", span=(0.0, 5.0))  # without an interval
    run = {"path": place / "run", "target": intensity, "targets": [intensity, kind, other]}

    class Several(Fake):
        def __init__(self) -> None:
            self.run = type("Run", (), {**run, "half_widths": {"intensity": 0.5}})()

        def predict(self, pairs: list[tuple[np.ndarray, str]]) -> list[Prediction]:
            if any("wordless" in text for _, text in pairs):
                raise FeatureError("the text gives no WordPiece")
            found = []
            for image, _ in pairs:
                value = np.float64(image.mean() / 10)
                more = {"kind": of_target(kind, np.array([0.25, 0.75]), None), "other": of_target(other, value, None)}
                found.append(replace(of_target(intensity, value, 0.5), further=more))
            return found

    (place / "t.csv").write_text("id,image,text\n0,0.png,x\n8,8.png,y\n9,9.png,wordless\n")
    assert predict_table(cast(Predictor, Several()), place / "t.csv", place / "out.csv") == (2, 1)
    with (place / "out.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file))
    assert found == [
        ["id", "predicted", "low", "high", "predicted_kind", "p_a, b_kind", 'p_c"d_kind', "predicted_other", "error"],
        ["0", "0.000000", "-0.500000", "0.500000", 'c"d', "0.250000", "0.750000", "0.000000", ""],
        ["8", "0.800000", "0.300000", "1.000000", 'c"d', "0.250000", "0.750000", "0.800000", ""],
        ["9", *[""] * 7, "the text gives no WordPiece"],
    ]


def test_a_number_in_words() -> None:
    target = Target("intensity", "number", span=(-1.0, 1.0))
    one = of_target(target, np.float64(0.25), 0.5)
    assert (one.label, one.value, one.interval) == ("0.250", 0.25, (-0.25, 0.75))
    assert one.chances(".1%") == one.chances(".3f") == "90% interval -0.250 to 0.750"
    beyond = of_target(target, np.float64(1.75), 0.5)  # all of its interval lies above the span
    assert beyond.interval == (1.0, 1.0)
    assert of_target(target, np.float64(0.25), None).chances(".3f") == ""
