"""Protocols: who is in which part, that none is in two, and what is refused."""

from __future__ import annotations

import io
import json
import pickle
import urllib.error
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from itin.cli import main
from itin.errors import DataError
from itin.train.protocols.draw import stratified_folds, without_leaks
from itin.train.protocols.protocol import Protocol, Splitter, clmlf, describe
from itin.train.protocols.split import PARTS, Split, part_sizes, random_split, read_parts
from itin.train.runs.folder import load_run
from itin.train.statistics import wilson
from itin.train.sweeps.folder import Sweep

from ..features import make_cache

pytestmark = pytest.mark.usefixtures("quick_workers")

N = 97
IDS = [f"s{i}" for i in range(N)]
LABELS = np.array([(i * 7 // 3) % 3 if i % 5 else 0 for i in range(N)])
SPLITS = Path(__file__).parents[3] / "shared" / "data" / "mvsa-labels" / "splits"


def table(name: str = "mvsa-single", twins: int = 0, **columns: Any) -> Any:
    """A data set's table; samples i and i + 1 have the same text for the first so many even i."""
    text = [f"{i - 1 if i % 2 and i < 2 * twins else i}" for i in range(N)]
    samples = pd.DataFrame({"id": IDS, "text": text, "text_sha256": text, "image_sha256": [f"i{i}" for i in range(N)]})
    return SimpleNamespace(dataset={"name": name}, samples=samples.assign(**columns))


def splitter(
    protocol: str = "itin-811", duplicates: str | None = None, allow_missing: bool = True, **of: Any
) -> Splitter:
    return Splitter.of(Protocol.parse(protocol, duplicates), IDS, LABELS, table(**of), allow_missing)


def part_of(split: Split) -> dict[str, str]:
    return dict(split.pairs(IDS))


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "protocol", "name"),
    [
        ("itin-811", Protocol(), "itin-811"),
        ("folds:10", Protocol("folds", folds=10), "folds:10"),
        ("agree", Protocol("agree"), "agree"),
        ("own", Protocol("own"), "own"),
        ("clmlf", Protocol("clmlf"), "clmlf"),
        ("clmlf:a/b.tsv", Protocol("clmlf", path=Path("a/b.tsv")), "clmlf"),
        ("file:a/b:c.csv", Protocol("file", path=Path("a/b:c.csv")), "file:b:c.csv"),
    ],
)
def test_names(text: str, protocol: Protocol, name: str) -> None:
    assert Protocol.parse(text) == protocol
    assert (protocol.name, str(protocol)) == (name, name)
    assert str(Protocol.parse(text, "exact")) == f"{name}, duplicates together (exact)"


@pytest.mark.parametrize(
    "text", ["", "itin", "folds", "folds:", "folds:two", "file", "file:", "agree:3", "own:msed", "itin-811:x"]
)
def test_no_protocol(text: str) -> None:
    with pytest.raises(ValueError, match=r"protocol: expected .*got"):
        Protocol.parse(text)


def test_wrong_values() -> None:
    with pytest.raises(ValueError, match="folds:K with K of at least 3, got folds:2"):
        Protocol.parse("folds:2")
    with pytest.raises(ValueError, match="duplicates: expected exact, stripped or None, got 'loose'"):
        Protocol.parse("agree", "loose")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"kind": "random", "ratio": "8:1:1", "seed": 3}, "itin-811, split seed 3"),  # runs from before protocols
        ({"kind": "file", "file": "/data/parts.csv"}, "file:parts.csv"),
        ({"protocol": "folds:5", "fold": 2, "seed": 0}, "folds:5, fold 2, split seed 0"),
        (
            {"protocol": "agree", "duplicates": "stripped", "seed": 1},
            "agree, duplicates together (stripped), split seed 1",
        ),
    ],
)
def test_descriptions(description: dict[str, Any], words: str) -> None:
    assert describe(description) == words


# Parts ---------------------------------------------------------------------------------------------------------------


def test_the_default_is_the_random_split() -> None:
    for seed in (0, 5):
        made, known = splitter().split(seed), random_split(IDS, seed)
        assert all(np.array_equal(made.rows(part), known.rows(part)) for part in PARTS)
        assert made.description == {"protocol": "itin-811", **known.description}


def test_grouping_changes_nothing_where_there_is_nothing_to_group() -> None:
    alone, grouped = splitter().split(4), splitter(duplicates="exact").split(4)
    assert part_of(alone) == part_of(grouped)
    assert grouped.description == {**alone.description, "duplicates": "exact"}


@pytest.mark.parametrize("protocol", ["itin-811", "folds:4", "agree"])
def test_equal_ones_stay_together(protocol: str) -> None:
    labels = {"text_label": ["positive"] * N, "image_label": ["positive"] * N}
    apart, together = (splitter(protocol, way, twins=40, **labels) for way in (None, "exact"))
    differing = 0
    for seed in range(3):
        loose, kept = part_of(apart.split(seed)), part_of(together.split(seed))
        assert len(kept) == N
        differing += sum(loose[f"s{i}"] != loose[f"s{i + 1}"] for i in range(0, 80, 2))
        assert not any(kept[f"s{i}"] != kept[f"s{i + 1}"] for i in range(0, 80, 2))
        sizes, wanted = Counter(kept.values()), Counter(loose.values())
        assert all(abs(sizes[part] - wanted[part]) <= 2 for part in PARTS)
    assert differing > 10


def test_stripped_texts_group_more() -> None:
    samples = {"text": [f"RT @a: {i // 2}" if i % 2 else f"{i // 2} http://t.co/{i}" for i in range(N)]}
    kept = part_of(splitter(duplicates="stripped", **samples).split(0))
    assert all(kept[f"s{i}"] == kept[f"s{i + 1}"] for i in range(0, N - 1, 2))


def test_folds_test_every_sample_once_and_are_stratified() -> None:
    made = splitter("folds:5")
    tested: Counter[str] = Counter()
    for fold in range(5):
        split = made.split(2, fold)
        parts = part_of(split)
        assert len(parts) == N
        following = part_of(made.split(2, (fold + 1) % 5))
        assert [s for s in IDS if parts[s] == "val"] == [s for s in IDS if following[s] == "test"]
        tested.update(sample for sample in IDS if parts[sample] == "test")
        for label in range(3):
            share = (label == LABELS).sum() / 5
            assert abs((LABELS[split.test] == label).sum() - share) < 1
        assert split.description == {
            "protocol": "folds:5", "kind": "folds", "folds": 5, "fold": fold, "seed": 2, "sizes": {
                part: len(split.rows(part)) for part in PARTS
            },
        }  # fmt: skip
    assert tested == Counter(IDS)
    assert part_of(made.split(0, 0)) != part_of(made.split(1, 0))


def test_folds_are_the_same_everywhere() -> None:
    """What the frozen stream of RandomState gives; a change would move every published figure."""
    assert [IDS[row] for row in splitter("folds:12").split(7, 3).test] == FOLD_3_OF_12


FOLD_3_OF_12 = ["s0", "s36", "s45", "s47", "s69", "s72", "s86", "s92"]


def test_large_groups_are_spread_over_the_folds() -> None:
    """Six groups of five and two of ten, in two folds: ten, ten and fives in each."""
    groups = np.repeat(np.arange(8), [5, 5, 10, 5, 5, 10, 5, 5])
    labels = np.zeros(50, np.int64)
    labels[groups == 2] = 1
    labels[groups == 5] = 1
    folds = stratified_folds(np.arange(50), labels, groups, 2)
    assert {fold: sum(one == fold for one in folds.values()) for fold in (0, 1)} == {0: 25, 1: 25}
    assert all(len({folds[row] for row in np.flatnonzero(groups == group)}) == 1 for group in range(8))
    assert folds[10] != folds[30]


def test_agree_keeps_what_agrees() -> None:
    text = ["positive" if i % 3 else "neutral" for i in range(N)]
    image = ["positive" if i % 2 else "neutral" for i in range(N)]
    split = splitter("agree", text_label=text, image_label=image).split(1)
    same = [i for i in range(N) if text[i] == image[i]]
    assert sorted([*split.train, *split.val, *split.test]) == same
    assert split.description == {
        "protocol": "agree", "kind": "random", "ratio": "6:2:2", "seed": 1, "labels_differ": N - len(same),
        "sizes": dict(zip(PARTS, part_sizes(len(same), (6, 2, 2)), strict=True)),
    }  # fmt: skip
    assert part_sizes(2592, (6, 2, 2)) == (1555, 518, 519)


@pytest.mark.parametrize(("name", "labels"), [("mvsa-multiple", ["positive"] * N), ("mine", [None] * N)])
def test_agree_is_for_single_alone(name: str, labels: list[Any]) -> None:
    with pytest.raises(DataError, match=rf"protocol agree is for MVSA-Single[\s\S]*data set {name}"):
        splitter("agree", name=name, text_label=labels, image_label=labels)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "parts.csv"
    rows = ["id,part", *(f"s{i},{['train', 'val', 'test'][i % 3]}" for i in range(30)), "zz,train"]
    path.write_text("\n".join(rows) + "\n")
    made = splitter(f"file:{path}")
    split = made.split(9)
    assert split.test.tolist() == list(range(2, 30, 3))
    assert {name: split.description[name] for name in ("protocol", "not_in_split", "not_in_features", "sizes")} == {
        "protocol": "file:parts.csv", "not_in_split": N - 30, "not_in_features": 1,
        "sizes": {"train": 10, "val": 10, "test": 10},
    }  # fmt: skip
    assert made.case(9, 0) == made.case(3, 0)
    assert [line.partition(" (")[0] for line in made.outside] == [
        "pairs in no part: 67", "ids of the split that are no labelled pair with features here: 1",
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"gives no part to 67 of 97 labelled pairs[\s\S]*--allow-missing"):
        splitter(f"file:{path}", allow_missing=False)


def test_a_fixed_test_part_stays_and_what_equals_it_leaves() -> None:
    parts = {"a": "train", "b": "test", "c": "val", "d": "train", "e": "val", "f": "train"}
    groups = {"a": 0, "b": 0, "c": 0, "d": 1, "e": 1, "f": 2}
    kept, record = without_leaks(parts, groups)
    assert kept == {"b": "test", "e": "val", "f": "train"}
    assert record == {"duplicates_left_out": {"train": 2, "val": 1}}


def test_a_fixed_split_without_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "parts.csv"
    path.write_text("\n".join(["id,part", *(f"s{i},{PARTS[i % 3]}" for i in range(30))]) + "\n")
    split = splitter(f"file:{path}", "exact", twins=5).split()
    # Pairs (0 train, 1 val), (2 test, 3 train), (4 val, 5 test), (6 train, 7 val), (8 test, 9 train)
    assert split.description["duplicates_left_out"] == {"train": 4, "val": 1}
    assert not {0, 3, 4, 6, 9} & {*split.train, *split.val, *split.test}
    assert split.test.tolist() == list(range(2, 30, 3))


@pytest.mark.parametrize("protocol", ["itin-811", "folds:3", "agree"])
@pytest.mark.parametrize(("equal", "next_step"), [(True, "leave out --group-duplicates"), (False, "extract more")])
def test_an_empty_part_is_blamed_on_what_left_it_empty(protocol: str, equal: bool, next_step: str) -> None:
    """There is no split to check: all pairs are equal, or too few."""
    samples = {
        "text_sha256": ["same" if equal else str(i) for i in range(N)],
        **{name: ["positive"] * N for name in ("text_label", "image_label")},
    }
    few = 9 if equal else 2
    made = Splitter.of(Protocol.parse(protocol, "exact"), IDS[:few], LABELS[:few], table(**samples))
    with pytest.raises(DataError) as caught:
        made.split()
    said = str(caught.value)
    assert said.startswith(f"the protocol {protocol}, duplicates together (exact) leaves the ")
    assert f"  next:     {next_step}" in said
    assert "check that the split" not in said


def test_a_given_part_that_equal_pairs_leave_empty(tmp_path: Path) -> None:
    path = tmp_path / "parts.csv"
    path.write_text("\n".join(["id,part", *(f"s{i},{('val', 'test')[i % 2]}" for i in range(8)), "s9,train"]) + "\n")
    splitter(f"file:{path}").split()
    with pytest.raises(DataError, match=r"leaves the val part empty[\s\S]*--group-duplicates, which drops pairs that"):
        splitter(f"file:{path}", "exact", twins=5).split()


def test_folds_that_are_not_there() -> None:
    with pytest.raises(ValueError, match=r"fold: expected from 0 to 4, got 5 \(protocol folds:5\)"):
        splitter("folds:5").split(0, 5)
    with pytest.raises(ValueError, match=r"fold: expected 0, since only folds:K has folds, got 1"):
        splitter().split(0, 1)


def test_it_travels() -> None:
    made = splitter("folds:4", "exact", twins=3)
    there = pickle.loads(pickle.dumps(made))
    assert part_of(there.split(1, 2)) == part_of(made.split(1, 2))


# The split of CLMLF --------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A publication of 30 pairs, in a folder of its own, and a cache folder without it."""
    folder = tmp_path / "published"
    folder.mkdir()
    parts = {f"s{i}": PARTS[i % 3] for i in range(30)}
    digests = {}
    for part, name in clmlf.FILES.items():
        rows = [{"id": one, "text": "…", "emotion_label": 0} for one in parts if parts[one] == part]
        (folder / name).write_text(json.dumps(rows))
        digests[part] = clmlf.hashlib.sha256((folder / name).read_bytes()).hexdigest()
    known = replace(
        clmlf.SPLITS["mvsa-single"], sizes=dict.fromkeys(PARTS, 10), files=digests, digest=clmlf.digest(parts)
    )
    monkeypatch.setitem(clmlf.SPLITS, "mvsa-single", known)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_own_parts_are_the_tables() -> None:
    part = [None if row % 10 == 9 else PARTS[row % 3] for row in range(N)]
    own = splitter("own", part=part, label="x")
    assert own.outside == []
    split = own.split(seed=3)
    assert own.case(3, 0) == (0, 0)
    assert part_of(split) == {id: one for id, one in zip(IDS, part, strict=True) if one is not None}
    assert split.description == {
        "protocol": "own",
        "kind": "own",
        "digest": clmlf.digest(part_of(split)),
        "not_in_split": 9,
        "not_in_features": 0,
        "sizes": {name: part.count(name) for name in PARTS},
    }
    parts = ["train", "test", "val", "test", "test", "train", "train", "val", "val", "val", *part[10:]]
    left_out = splitter("own", "exact", twins=5, part=parts, label="x").split().description["duplicates_left_out"]
    assert left_out == {"train": 3, "val": 1}  # the twin of a row is the next one
    with pytest.raises(DataError, match=r"the data set's own split leaves the val part empty"):
        splitter("own", part=["train"] * 50 + ["test"] * (N - 50), label="x")
    for columns in ({}, {"part": None}, {"part": float("nan")}):
        with pytest.raises(DataError, match=r"msed has no split of its own(.|\n)*part for none of 97 labelled pairs"):
            splitter("own", name="msed", label="x", **columns)


def test_clmlf_from_a_copy(tiny: Path) -> None:
    with pytest.raises(DataError, match=r"published for mvsa-single is not here[\s\S]*itin data fetch clmlf --dataset"):
        splitter("clmlf")
    path = clmlf.fetch("mvsa-single", tiny)
    assert path == clmlf.split_path("mvsa-single")
    for protocol in ("clmlf", f"clmlf:{path}"):
        split = splitter(protocol).split()
        assert split.test.tolist() == list(range(2, 30, 3))
        assert split.description["protocol"] == "clmlf"
    assert splitter("clmlf", "exact", twins=5).split().description["duplicates_left_out"] == {"train": 4, "val": 1}


def test_clmlf_from_the_network(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO((tiny / url.rpartition("/")[2]).read_bytes())

    monkeypatch.setattr(clmlf.urllib.request, "urlopen", answer)
    parts, _ = read_parts(clmlf.fetch("mvsa-single"))
    assert Counter(parts.values()) == Counter(dict.fromkeys(PARTS, 10))
    assert asked == [f"{clmlf.BASE}/MVSA-single/10-flod-1/{name}" for name in ("train.json", "dev.json", "test.json")]


def test_clmlf_offline(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, timeout: float) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(clmlf.urllib.request, "urlopen", fail)
    with pytest.raises(DataError, match=r"cannot fetch https://.*train.json: Name or service[\s\S]*--from FOLDER"):
        clmlf.fetch("mvsa-single")
    assert not clmlf.split_path("mvsa-single").exists()


def test_clmlf_is_checked(tiny: Path, tmp_path: Path) -> None:
    (tiny / "dev.json").write_text("[]")
    with pytest.raises(DataError, match=r"dev.json is not the file that CLMLF published[\s\S]*2 bytes"):
        clmlf.fetch("mvsa-single", tiny)
    (tiny / "dev.json").unlink()
    with pytest.raises(DataError, match=r"cannot read .*dev.json: No such file[\s\S]*train.json, dev.json, test.json"):
        clmlf.fetch("mvsa-single", tiny)
    with pytest.raises(DataError, match=r"CLMLF published no split of mine[\s\S]*mvsa-single or mvsa-multiple"):
        clmlf.fetch("mine", tiny)
    other = tmp_path / "other.csv"
    other.write_text("\n".join(["id,part", *(f"s{i},{PARTS[i % 3]}" for i in range(1, 31))]) + "\n")
    with pytest.raises(DataError, match=r"is not the split that CLMLF published[\s\S]*10 in test; digest [0-9a-f]{12}"):
        splitter(f"clmlf:{other}")
    other.write_text("id,part\ns1,train\n")
    with pytest.raises(DataError, match=r"expected: 10 in train[\s\S]*found:    1 in train, 0 in val, 0 in test\n"):
        splitter(f"clmlf:{other}")


@pytest.mark.skipif(not SPLITS.is_dir(), reason="the published splits of MVSA are not here")
@pytest.mark.parametrize("name", ["mvsa-single", "mvsa-multiple"])
def test_the_published_splits_have_the_digests_that_stand_here(name: str) -> None:
    path = SPLITS / f"clmlf-{name}.tsv"
    parts, _ = read_parts(path)
    clmlf.check(path, parts, name)
    assert {part: list(parts.values()).count(part) for part in PARTS} == clmlf.SPLITS[name].sizes


@pytest.mark.skipif(not SPLITS.is_dir(), reason="the published splits of MVSA are not here")
def test_the_published_split_on_a_sample() -> None:
    """It names thousands of pairs that a sample of the data set does not have."""
    lines = (SPLITS.parents[1] / "mvsa-single-sample" / "labelResultAll.txt").read_text().splitlines()[1:]
    named = read_parts(SPLITS / "clmlf-mvsa-single.tsv")[0]
    ids = [one for one in (line.split()[0] for line in lines) if one in named]
    frame = pd.DataFrame({"id": ids})
    made = Splitter.of(
        Protocol("clmlf", path=SPLITS / "clmlf-mvsa-single.tsv"),
        ids,
        np.zeros(len(ids), np.int64),
        SimpleNamespace(dataset={"name": "mvsa-single"}, samples=frame),
    )
    assert len(ids) == 389
    (line,) = made.outside
    assert line.startswith("ids of the split that are no labelled pair with features here: 4122 (")
    assert sum(made.split().description["sizes"].values()) == 389


# On the command line -------------------------------------------------------------------------------------------------

SMALL = ("--d", "6", "--k", "4", "--hidden", "4", "--epochs", "1", "--batch-size", "16")


def itin(*words: object) -> Any:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("protocols") / "cache")


def test_train_names_its_protocol(cache: Path, tmp_path: Path) -> None:
    words = ["train", "--cache", cache, "--device", "cpu", *SMALL]
    out = tmp_path / "run"
    result = itin(*words, "--protocol", "folds:3", "--fold", 2, "--group-duplicates", "--out", out)
    assert result.exit_code == 0, result.output
    assert "\nprotocol folds:3, duplicates together (exact), fold 2, split seed 0\n" in result.output
    run = load_run(out)
    for part in ("validation", "test"):  # Wilson's interval stands beside the accuracy
        (line,) = [line.split() for line in result.output.splitlines() if line.startswith(part)]
        low, high = wilson(round(float(line[2]) * int(line[1])), int(line[1]))
        assert line[3] == f"{low:.3f}–{high:.3f}"
    assert run.config.fold == 2
    assert {run.record["split"][name] for name in ("protocol", "duplicates", "fold")} == {"folds:3", "exact", 2}
    listed = itin("runs", tmp_path)
    assert "protocol folds:3, duplicates together (exact)\n" in listed.output
    again = itin("evaluate", out, "--device", "cpu")
    assert "protocol folds:3, duplicates together (exact), fold 2, split seed 0\n" in again.output

    parts = tmp_path / "parts.csv"
    parts.write_text("\n".join(["id,part", *(f"s{i},{PARTS[i % 3]}" for i in range(60))]) + "\n")
    for number, given in enumerate((["--split", parts], ["--protocol", f"file:{parts}"])):
        result = itin(*words, *given, "--out", tmp_path / f"given{number}")
        assert "\nprotocol file:parts.csv\n" in result.output
    keys = {load_run(tmp_path / f"given{number}").record["key"] for number in (0, 1)}
    assert len(keys) == 1
    both = itin("runs", tmp_path)
    assert "file:parts.csv" in both.output
    assert "folds:3, duplicates together (exact)" in both.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "fold:3"], "protocol: expected itin-811, own, clmlf"),
        (["--protocol", "folds:3", "--fold", "3"], "fold: expected from 0 to 2, got 3"),
        (["--fold", "1"], "fold: expected 0, since only folds:K has folds, got 1"),
        (["--protocol", "agree", "--split", "x.csv"], "--split is short for --protocol file:PATH: give one"),
        (["--group-duplicates", "loose"], "'loose' is not one of 'exact', 'stripped'"),
        (["--protocol", "agree"], "the protocol agree is for MVSA-Single"),
        (["--protocol", "clmlf"], "CLMLF published no split of planted"),
    ],
)
def test_wrong_protocols(cache: Path, words: list[str], message: str) -> None:
    result = itin("train", "--cache", cache, "--device", "cpu", *words)
    assert result.exit_code != 0
    assert message in result.output


def test_a_sweep_takes_all_folds(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    words = ["sweep", "--cache", cache, "--device", "cpu", "--workers", 1, "--out", out, *SMALL]
    result = itin(*words, "--protocol", "folds:3", "--group-duplicates", "--m", "1,2", "--seeds", 2, "--plan")
    assert result.exit_code == 0, result.output
    result = itin("sweep", "--resume", out, "--device", "cpu", "--workers", 1, "--reveal-test")
    assert result.exit_code == 0, result.output
    assert "protocol folds:3, duplicates together (exact)\n" in result.output
    assert "12 runs: 2 configurations, 2 seeds each on each of 3 folds\n" in result.output
    assert "seed 1, fold 2" in result.output
    table = Sweep(out).results()
    assert sorted(zip(table["seed"], table["fold"], strict=True)) == sorted(
        [(seed, fold) for seed in (0, 1) for fold in (0, 1, 2)] * 2
    )
    assert Sweep(out).configurations()["seeds"].tolist() == [6, 6]
    tested: Counter[str] = Counter()
    for run in sorted((out / "runs").glob("m1-*-seed0-*")):
        tested.update(sample for sample, part in load_run(run).parts.items() if part == "test")
    assert tested == Counter([f"s{i}" for i in range(60)])

    refused = itin("sweep", "--resume", out, "--protocol", "itin-811")
    assert "--protocol cannot be changed with --resume" in refused.output


def test_a_sweep_on_given_parts_goes_on_without_their_file(cache: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts.csv"
    parts.write_text("\n".join(["id,part", *(f"s{i},{PARTS[i % 3]}" for i in range(50)), "zz,test"]) + "\n")
    out = tmp_path / "sweep"
    words = ["sweep", "--cache", cache, "--split", parts, "--out", out, *SMALL, "--plan"]
    assert "gives no part to 10 of 60 labelled pairs" in itin(*words).output
    result = itin(*words, "--allow-missing")
    assert result.exit_code == 0, result.output
    assert "  pairs in no part: 10 (s50, s51, s52, s53, s54 and so on)\n" in result.output
    assert "  ids of the split that are no labelled pair with features here: 1 (zz)\n" in result.output
    assert "--allow-missing cannot be changed with --resume" in itin("sweep", "--resume", out, "--allow-missing").output
    parts.unlink()
    result = itin("sweep", "--resume", out, "--device", "cpu", "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "protocol file:parts.csv\n" in result.output
    (run,) = (out / "runs").iterdir()
    split = load_run(run).record["split"]
    assert (split["not_in_split"], split["not_in_features"], split["protocol"]) == (10, 1, "file:parts.csv")


def test_sweeps_from_before_protocols_had_names(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    assert itin("sweep", "--cache", cache, "--out", out, "--epochs", 1, "--plan").exit_code == 0
    record = json.loads((out / "sweep.json").read_text())
    del record["protocol"], record["duplicates"]
    (out / "sweep.json").write_text(json.dumps(record))
    assert Sweep(out).definition.protocol_used == Protocol()
    (out / "sweep.json").write_text(json.dumps({**record, "split": {"kind": "file", "file": "/data/parts.csv"}}))
    assert str(Sweep(out).definition.protocol_used) == "file:parts.csv"


def test_guided_searches_need_one_fold(cache: Path) -> None:
    pytest.importorskip("optuna", reason="needs optuna")
    result = itin("sweep", "--cache", cache, "--optuna", 3, "--m", "1,2", "--protocol", "folds:3")
    assert "choose a fold with --fold 0" in result.output


def test_fetch_on_the_command_line(tiny: Path) -> None:
    result = itin("data", "fetch", "clmlf", "--from", tiny)
    assert result.output.startswith("clmlf of mvsa-single: 10 train, 10 val, 10 test\nSplit: ")
    assert itin("data", "fetch", "other").exit_code == 2
