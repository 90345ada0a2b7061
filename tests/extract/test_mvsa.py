"""The readers of MVSA: Table I, the label rule, the layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from itin.cache.table import options_of
from itin.errors import DataError
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import Entry
from itin.extract.data.sets.mvsa import combine, intensities, judge, majority, own_labels, read_labels
from itin.targets import Target

P, N, M = "positive", "neutral", "negative"


def test_majority_is_more_than_half() -> None:
    assert majority([P, M, P]) == P
    assert majority([N, N, N]) == N
    assert majority([P, N, M]) is None
    assert majority([M]) == M


def test_combine_all_nine() -> None:
    expected = {(P, P): P, (P, N): P, (P, M): None, (N, P): P, (N, N): N, (N, M): M, (M, P): None, (M, N): M, (M, M): M}
    assert {pair: combine(*pair) for pair in product((P, N, M), repeat=2)} == expected


def test_judge() -> None:
    assert judge([(N, P)]) == (P, N, P)
    assert judge([(P, M)]) == (None, P, M)
    assert judge([(P, P), (P, N), (M, M)]) == (None, P, None)
    assert judge([(P, N), (P, M), (M, N)]) == (P, P, N)
    # each modality is voted on first: annotator by annotator this would be a negative pair
    assert judge([(N, M), (P, N), (P, N)]) == (P, P, N)


def test_table_1_single(shared_data: Path) -> None:
    rows, rejected = read_labels(shared_data / "mvsa-labels" / "mvsa-single.labelResultAll.txt", 1)
    counts = Counter(judge(row.votes)[0] for row in rows)
    assert (len(rows), rejected) == (4869, [])
    assert counts == {P: 2683, N: 470, M: 1358, None: 358}


def test_table_1_multiple(shared_data: Path) -> None:
    rows, rejected = read_labels(shared_data / "mvsa-labels" / "mvsa-multiple.labelResultAll.txt", 3)
    judged = {row.id: judge(row.votes) for row in rows}
    assert (len(rows), len(judged), rejected) == (19600, 19600, [])
    left_out = Counter(
        "conflict" if text and image else "no majority" for label, text, image in judged.values() if not label
    )
    assert left_out == {"no majority": 2231, "conflict": 342}
    labels = {id: label for id, (label, _, _) in judged.items() if label}
    assert len(labels) == 17027
    assert Counter(labels.values()) == {P: 11320, N: 4408, M: 1299}
    assert [labels.pop(id) for id in ("3910", "5995", "15324")] == [P, P, M]
    assert len(labels) == 17024
    assert Counter(labels.values()) == {P: 11318, N: 4408, M: 1298}


def test_intensities_and_own_labels() -> None:
    assert intensities([(P, M)]) == {"intensity": 0, "text-intensity": 1, "image-intensity": -1}
    assert intensities([(N, M)]) == {"intensity": -0.5, "text-intensity": 0, "image-intensity": -1}
    votes = [(P, P), (P, N), (M, P)]
    assert intensities(votes) == {"intensity": 0.5, "text-intensity": 1 / 3, "image-intensity": 2 / 3}
    labels = {"text-label-1": P, "text-label-2": P, "text-label-3": M}
    assert own_labels(votes) == {**labels, "image-label-1": P, "image-label-2": N, "image-label-3": P}
    assert own_labels([(P, M)]) == {}


def test_intensity_of_the_real_label_files(shared_data: Path) -> None:
    """Levels, spread and correlation as measured on the complete files; five levels where there is one annotator."""
    rows, _ = read_labels(shared_data / "mvsa-labels" / "mvsa-multiple.labelResultAll.txt", 3)
    values = np.array([list(intensities(row.votes).values()) for row in rows])
    assert np.unique(np.round(values[:, 0] * 6)).tolist() == list(range(-6, 7))
    assert values[:, 0].std() == pytest.approx(0.426, abs=5e-4)
    assert np.corrcoef(values[:, 1], values[:, 2])[0, 1] == pytest.approx(0.638, abs=5e-4)
    rows, _ = read_labels(shared_data / "mvsa-labels" / "mvsa-single.labelResultAll.txt", 1)
    assert {intensities(row.votes)["intensity"] for row in rows} == {-1, -0.5, 0, 0.5, 1}


def test_real_sample(shared_data: Path) -> None:
    """What the label rule drops keeps its place in the file's order, without a label."""
    dataset = open_dataset("mvsa-single", shared_data / "mvsa-single-sample")
    root = (shared_data / "mvsa-single-sample").resolve()
    rows, _ = read_labels(root / "labelResultAll.txt", 1)
    assert [entry.id for entry in dataset.entries] == [row.id for row in rows]
    assert Counter(entry.label for entry in dataset.entries) == {P: 193, N: 65, M: 131, None: 27}
    assert (dataset.dropped, dataset.undecided) == ({}, {"text and image labels conflict": 27})
    assert (dataset.name, dataset.rejected, dataset.text_encoding) == ("mvsa-single", [], "gb18030")
    entry = next(entry for entry in dataset.entries if entry.id == "4499")
    values = {"intensity": 0.5, "text-intensity": 0.0, "image-intensity": 1.0}
    assert entry == Entry("4499", root / "data/4499.jpg", root / "data/4499.txt", P, N, P, targets=values)
    conflicts = [entry for entry in dataset.entries if entry.label is None]
    assert {(entry.text_label, entry.image_label) for entry in conflicts} == {(P, M), (M, P)}
    assert {entry.targets["intensity"] for entry in conflicts} == {0}


def test_labelled_only(shared_data: Path) -> None:
    root = shared_data / "mvsa-single-sample"
    whole, some = open_dataset("mvsa-single", root), open_dataset("mvsa-single", root, labelled_only=True)
    assert some.entries == [entry for entry in whole.entries if entry.label]
    assert (some.dropped, some.undecided) == ({"text and image labels conflict": 27}, {})
    assert some.targets == whole.targets
    assert (whole.source.get("labelled_only"), some.source["labelled_only"]) == (None, True)
    assert open_dataset(**some.source) == some  # type: ignore[arg-type]
    assert options_of({"source": some.source})[-1] == "--labelled-only"
    with pytest.raises(ValueError, match="labelled_only: an option of mvsa-single, mvsa-multiple, not of"):
        open_dataset("msed", root, labelled_only=True)


def test_targets(tmp_path: Path) -> None:
    classes = ("positive", "neutral", "negative")
    for kind, annotators, own in (("mvsa-single", 1, []), ("mvsa-multiple", 3, ["1", "2", "3"])):
        root = tmp_path / kind
        (root / "data").mkdir(parents=True)
        lines = ["\t".join(["ID", *["text,image"] * annotators]), "\t".join(["8", *["positive,negative"] * annotators])]
        if annotators == 3:
            lines.append("9\tpositive,neutral\tneutral,neutral\tnegative,neutral")
        (root / "labelResultAll.txt").write_text("\n".join(lines) + "\n")
        dataset = open_dataset(kind, root)
        found = {target.name: target for target in dataset.all_targets}
        names = ["label", "text-label", "image-label"]
        names += [f"{side}-label-{number}" for number in own for side in ("text", "image")]
        assert list(found) == [*names, "intensity", "text-intensity", "image-intensity"]
        assert {found[name] for name in names} == {Target(name, classes=classes) for name in names}
        assert {(found[name].kind, found[name].span) for name in list(found)[-3:]} == {("number", (-1.0, 1.0))}
        for entry in dataset.entries:
            assert {*entry.targets} == {*found} - {"label", "text-label", "image-label"}
    without = dataset.entries[1]
    assert (without.label, without.text_label, without.image_label) == (None, None, "neutral")
    assert without.targets["text-label-3"] == "negative"
    assert dataset.undecided == {"text and image labels conflict": 1, "no majority": 1}


def test_malformed_rows_are_rejected_by_line(tmp_path: Path) -> None:
    path = tmp_path / "labelResultAll.txt"
    lines = [
        "ID\ttext,image",
        "1\tpositive,neutral",
        "2\tpositive",
        "3\tpositive,happy",
        "4\tpositive,neutral\tneutral,neutral",
        "../5\tpositive,neutral",
        "",
        "1\tnegative,negative",
        "6\tneutral,neutral",
    ]
    for end in ("\n", "\r\n"):
        path.write_bytes(end.join(lines).encode())
        rows, rejected = read_labels(path, 1)
        assert [(row.id, row.votes) for row in rows] == [("1", [(P, N)]), ("6", [(N, N)])]
        assert {r.id: r.reason for r in rejected} == {
            "2": "labelResultAll.txt, line 3: 'positive' is not two of positive, neutral, negative, "
            "with a comma between",
            "3": "labelResultAll.txt, line 4: 'positive,happy' is not two of positive, neutral, negative, "
            "with a comma between",
            "4": "labelResultAll.txt, line 5: 2 columns of labels instead of 1",
            "../5": "labelResultAll.txt, line 6: the id '../5' is not a number",
            "line 8": "labelResultAll.txt, line 8: id 1 is on an earlier line too",
        }


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html>\n<html>", "'<!DOCTYPE html>'"),
        (b"ID\ttext,image\ttext,image\ttext,image\r\n1\ta\r\n", "3 columns 'text,image'"),
        (b"\xff\xfeI\0D\0", "bytes that are not text"),
        (b"ID\ttext,image\r\n", "a header line alone"),
        (b"ID\ttext,image\r\nx\ty\r\n", "labelResultAll.txt, line 2: the id 'x' is not a number"),
        (None, "a file that is missing"),
    ],
)
def test_not_a_label_file(tmp_path: Path, content: bytes | None, found: str) -> None:
    path = tmp_path / "labelResultAll.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_labels(path, 1)
    what, expected, got, after = str(caught.value).splitlines()
    assert what == f"{path} is not the label file of mvsa-single"
    assert expected == (
        "  expected: a header line with ID and one column 'text,image', separated by tabs, "
        "and rows such as '7<TAB>positive,neutral'"
    )
    assert got == f"  found:    {found}"
    assert after == "  next:     check whether --dataset and --root belong together; if so, unpack the file again"


def test_three_annotators(tmp_path: Path, draw_mvsa: Callable[..., Path]) -> None:
    root = draw_mvsa(tmp_path / "m", 5, annotators=3)
    dataset = open_dataset("mvsa-multiple", root)
    assert [entry.label for entry in dataset.entries] == [P, N, M, P, N]
    assert dataset.dropped == {}
    with pytest.raises(DataError, match=r"is not the label file of mvsa-single(.|\n)*found: +3 columns 'text,image'"):
        open_dataset("mvsa-single", root)


def test_one_level_off(tmp_path: Path, draw_mvsa: Callable[..., Path]) -> None:
    root = draw_mvsa(tmp_path / "MVSA_Single", 2)
    for wrong in (tmp_path, root / "data"):
        with pytest.raises(DataError) as caught:
            open_dataset("mvsa-single", wrong)
        assert f"{wrong} is not the folder of mvsa-single" in str(caught.value)
        assert str(caught.value).endswith(f"next:     use --root '{root}'")
    draw_mvsa(tmp_path / "MVSA", 2)
    with pytest.raises(DataError, match=f"use --root '{tmp_path}/MVSA' or --root '{root}'"):
        open_dataset("mvsa-single", tmp_path)


def test_wrong_root(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "some").mkdir()
    for name in "abcdefg":
        (tmp_path / "some" / name).touch()
    for place, found in {
        "missing": "no such folder",
        "none": "an empty folder",
        "some": "a folder with a, b, c, d, e and 2 more",
        "some/a": "a file",
    }.items():
        with pytest.raises(DataError) as caught:
            open_dataset("mvsa-multiple", tmp_path / place)
        message = str(caught.value)
        assert "expected: a folder with labelResultAll.txt and data/{id}.jpg, data/{id}.txt" in message
        assert f"found:    {found}\n" in message
        assert (
            "get MVSA from the page of the data set's authors, "
            "http://mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data/, unpack it, and name the "
            "folder that holds labelResultAll.txt with --root (or put it at $ITIN_DATA/mvsa-multiple)" in message
        )


def test_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "labelResultAll.txt").write_text("ID\ttext,image\n1\tpositive,neutral\n")
    with pytest.raises(DataError, match=r"but no folder data(.|\n)*found: +a folder with labelResultAll.txt\n"):
        open_dataset("mvsa-single", tmp_path)


def test_itin_data(tmp_path: Path, draw_mvsa: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITIN_DATA", raising=False)
    with pytest.raises(DataError, match=r"found: +ITIN_DATA is not set\n(.|\n)*mcrlab.net"):
        open_dataset("mvsa-single")
    monkeypatch.setenv("ITIN_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        open_dataset("mvsa-single")
    assert f"found:    {tmp_path}/mvsa-single ($ITIN_DATA/mvsa-single), where there is no folder" in str(caught.value)
    assert "mcrlab.net" in str(caught.value)
    draw_mvsa(tmp_path / "mvsa-single", 3)
    dataset = open_dataset("mvsa-single")
    assert [entry.id for entry in dataset.entries] == ["1", "2", "3"]
    assert dataset.root == tmp_path / "mvsa-single"
