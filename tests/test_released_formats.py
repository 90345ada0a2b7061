"""Stores, runs and sweeps that older commits made: they open, verify, resume, evaluate and predict, wherever they lie.

Each folder of tests/fixtures is the set of one commit; tests/fixtures/README.md says what it holds.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from itin.cache import find_stores, fingerprint_of, open_store, read_table
from itin.cli import main
from itin.errors import RunError
from itin.extract.config import EncoderConfig
from itin.extract.encoders.build import build_encoder, identity_of
from itin.itin_head import Head
from itin.train.features.find import stores_of_run
from itin.train.features.load import load_features
from itin.train.label_rule import decided
from itin.train.runs.evaluation import predict_part
from itin.train.runs.folder import Run, load_run
from itin.train.runs.write import predictions_name
from itin.train.sweeps.folder import Sweep
from itin.train.sweeps.reveal import revealed

from .fixtures import make as sets

FIXTURES = Path(__file__).with_name("fixtures")
COMMITS = sorted(path.parent.name for path in FIXTURES.glob("*/expected.json"))
DATA = "mvsa-single"

pytestmark = pytest.mark.usefixtures("one_thread")


class Released(NamedTuple):
    """A set where this test has unpacked it, and what it holds and gives."""

    root: Path
    expected: dict[str, Any]


@pytest.fixture(scope="module", params=COMMITS)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """The set as it was made; only its runs have been told where the text encoders lie now."""
    folder, root = FIXTURES / request.param, tmp_path_factory.mktemp("released") / "moved here"
    expected = json.loads((folder / "expected.json").read_bytes())
    with tarfile.open(folder / "set.tar.xz") as archive:
        archive.extractall(root, filter="data")
    assert not Path(expected["root"]).exists()  # nothing may be found where it was made
    for config in root.rglob("runs/*/config.json"):
        config.write_text(config.read_text().replace(f'"{expected["root"]}/', f'"{root.as_posix()}/'))
    return Released(root, expected)


@pytest.fixture
def released(packed: Released, tmp_path: Path) -> Released:
    """A copy of the set, to be changed."""
    return Released(Path(shutil.copytree(packed.root, tmp_path / "copy")), packed.expected)


def itin(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words], prog_name="itin")
    assert done.exit_code == 0, f"{done.output}\n{done.exception!r}"
    return done.output


def content(folder: Path, pattern: str) -> dict[str, tuple[bytes, int]]:
    """The files of a folder, with the time when they were written."""
    found = {path: path.stat().st_mtime_ns for path in folder.rglob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): (path.read_bytes(), written) for path, written in found.items()}


def needs_same_encoders(released: Released, entries: dict[str, Any], tokenizer: Path | None = None) -> None:
    """Assert that the encoders are those of the stores; skip where another processor or version draws other weights."""
    for kind, entry in entries.items():
        config, identity = EncoderConfig(**entry["options"]), entry["identity"]
        made = build_encoder(kind, config, torch.device("cpu"), tokenizer_file=tokenizer)
        if made.spec.weights["sha256"] != identity["weights"]["sha256"] and config.random_init is not None:
            drawn_by = sets.drawn_by()
            if drawn_by != released.expected["drawn_by"]:
                pytest.skip(f"{made.spec.name} has other weights where the set was made: {drawn_by}")
        tokenizers = [one["preprocessing"].get("tokenizer_sha256") for one in (made.spec.as_dict(), identity)]
        before, now = released.expected["drawn_by"]["transformers"], sets.drawn_by()["transformers"]
        if tokenizers[0] != tokenizers[1] and now.split(".")[0] != before.split(".")[0]:
            pytest.skip(f"transformers {before} wrote tokenizers otherwise than {now}")
        assert fingerprint_of(identity_of(made.spec, config.store_dtype)) == fingerprint_of(identity)


# Stores --------------------------------------------------------------------------------------------------------------


def test_there_are_sets() -> None:
    assert "d13a025" in COMMITS


def test_stores_are_whole_and_hold_what_they_held(packed: Released) -> None:
    folder = packed.root / "cache" / DATA
    assert f"{len(packed.expected['stores'])} stores" in itin("cache", "verify", folder)
    assert [path.name for path in find_stores(folder)] == sorted(packed.expected["stores"])
    table = read_table(folder)
    for name, expected in packed.expected["stores"].items():
        store = open_store(folder / name)
        assert store.fingerprint == expected["fingerprint"] == fingerprint_of(store.identity)
        assert store.ids == table.samples["id"].tolist()
        rows = np.arange(len(store))
        if store.kind == "tokens":
            arrays = store.read_ragged(rows)
        else:
            arrays = {one: store.read(one, rows) for one in expected["arrays"]}
        assert {one: hashlib.sha256(each.tobytes()).hexdigest() for one, each in arrays.items()} == expected["arrays"]
        assert arrays[store.kind].reshape(-1)[:4].astype(float).tolist() == expected["begin"]


def test_shards_open_with_plain_h5py(packed: Released) -> None:
    for name in packed.expected["stores"]:
        path = packed.root / "cache" / DATA / name
        store, read = open_store(path), 0
        for shard in sorted(path.glob("shard-*.h5")):
            with h5py.File(shard) as file:
                if store.kind == "tokens":
                    ours = store.read_ragged(read + np.arange(len(file["ids"])))["tokens"]
                else:
                    ours = store.read(store.kind, read + np.arange(len(file["ids"])))
                np.testing.assert_array_equal(file[store.kind][:], ours)
                read += len(file["ids"])
        assert read == len(store)


@pytest.mark.parametrize("kinds", ["tokens", "regions,context"])
def test_an_interrupted_extraction_goes_on(released: Released, kinds: str) -> None:
    """What is there is left alone, and at the end the stores are those of the extraction that was not interrupted."""
    root = released.root
    whole, folder = root / "cache" / DATA, root / "interrupted" / DATA
    wanted = {name: count for name, count in released.expected["interrupted"].items() if name.split("-")[0] in kinds}
    before = {name: content(folder / name, "shard-*") for name in wanted}
    assert {name: len(files) for name, files in before.items()} == wanted
    assert sum(wanted.values()) > 0
    words: list[object] = ["--regions", "grid-small", "--max-regions", 2, "--random-init", 0]
    options: dict[str, Any] = {"regions": "grid-small", "max_regions": 2, "random_init": 0}
    if kinds == "tokens":
        words = ["--text-encoder", root / "file-bert"]
        options = {"text_encoder": str(root / "file-bert")}
    identities = {name.split("-")[0]: open_store(whole / name).identity for name in wanted}
    needs_same_encoders(released, {kind: {"options": options, "identity": one} for kind, one in identities.items()})
    itin(
        "extract", "--dataset", DATA, "--root", root / "data", "--cache", root / "interrupted", "--only", kinds, *words,
        "--shard-size", 8, "--device", "cpu",
    )  # fmt: skip
    for name, files in before.items():
        after = content(folder / name, "shard-*")
        assert {one: after[one] for one in files} == files
        assert len(after) == len(list((whole / name).glob("shard-*"))) > len(files)
        store, other = open_store(folder / name), open_store(whole / name)
        assert store.manifest["complete"]
        assert store.ids == other.ids
        rows = np.arange(len(store))
        if store.kind == "tokens":
            made, expected = (one.read_ragged(rows)["tokens"] for one in (store, other))
        else:
            made, expected = (one.read(store.kind, rows) for one in (store, other))
        np.testing.assert_allclose(made.astype(np.float32), expected.astype(np.float32), rtol=0.01, atol=0.01)
        itin("cache", "verify", folder / name)


def test_a_store_grows_by_pairs_that_have_no_label(released: Released, tmp_path: Path) -> None:
    """Tables of before hold the pairs with a label alone; the next extraction adds the others, and runs stay."""
    root = released.root
    folder = root / "cache" / DATA
    (path,) = folder.glob("tokens-file-bert-*")
    before, keys = open_store(path), {name: one["key"] for name, one in released.expected["runs"].items()}
    needs_same_encoders(
        released, {"tokens": {"options": {"text_encoder": str(root / "file-bert")}, "identity": before.identity}}
    )
    labels = root / "data" / "labelResultAll.txt"
    lines = labels.read_text().splitlines()
    for id in (49, 50):
        lines.insert(id - 45, f"{id}\tpositive,negative")
        for ending in ("jpg", "txt"):
            shutil.copy(root / "data" / "data" / f"{id - 48}.{ending}", root / "data" / "data" / f"{id}.{ending}")
    labels.write_text("\n".join(lines) + "\n")
    shards = content(path, "shard-*")
    itin(
        "extract", "--dataset", DATA, "--root", root / "data", "--cache", root / "cache", "--only", "tokens",
        "--text-encoder", root / "file-bert", "--shard-size", 8, "--device", "cpu",
    )  # fmt: skip
    after = content(path, "shard-*")
    assert {name: after[name] for name in shards} == shards
    store, table = open_store(path), read_table(folder)
    assert store.ids == [*before.ids, "49", "50"]
    assert table.samples["id"].tolist()[3:6] == ["49", "50", "4"]
    assert table.dataset["undecided"] == {"text and image labels conflict": 2}
    assert table.samples["label"].isna().sum() == 2
    words = f"--text-encoder file-bert {sets.RUNS['text-only'].partition('file-bert')[2]} --device cpu"
    itin("train", "--cache", root / "cache", *words.split(), "--out", tmp_path / "again")
    run, old = load_run(tmp_path / "again"), load_run(root / "runs" / "text-only")
    assert run.record["key"] == keys["text-only"]
    assert run.parts == old.parts
    itin("evaluate", root / "runs" / "itin", "--cache", root / "cache", "--device", "cpu")


# Runs ----------------------------------------------------------------------------------------------------------------


def runs(packed: Released) -> list[tuple[Path, dict[str, Any]]]:
    return [(packed.root / "runs" / name, expected) for name, expected in packed.expected["runs"].items()]


def test_runs_open_and_are_listed(packed: Released, tmp_path: Path) -> None:
    itin("runs", packed.root, "--csv", tmp_path / "runs.csv", "--test")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    for path, expected in runs(packed):
        run = load_run(path)
        assert run.record["key"] == expected["key"] == rows[str(path)]["key"]
        assert run.metrics["test"] == expected["test"]
        assert float(rows[str(path)]["test_accuracy"]) == expected["test"]["accuracy"]
        assert len(run.history) == run.config.epochs == 12
        assert sum(parameter.numel() for parameter in run.head().parameters()) > 0
    of_sweep = {row["key"] for row in rows.values() if "/sweep/runs/" in row["run"]}
    assert of_sweep == set(packed.expected["sweep"])


def test_runs_are_evaluated_again(packed: Released) -> None:
    for path, expected in runs(packed):
        shown = itin("evaluate", path, "--cache", packed.root / "cache", "--device", "cpu")
        test = expected["test"]
        figures = [f"{test[name]:.4f}" for name in ("accuracy", "weighted_f1", "macro_f1")]
        assert re.findall(r"\b[01]\.\d{4}\b", shown)[:3] == figures


def checkpoints(packed: Released) -> list[Path]:
    """The folders of all runs: single ones and those of sweeps, finished and half done."""
    return sorted(path.parent for path in packed.root.rglob("model.safetensors") if "runs" in path.parts)


def test_checkpoints_give_the_probabilities_that_they_gave(packed: Released) -> None:
    """Of every run, those of sweeps too, for each pair that its predictions.csv names, from the stores as they were."""
    paths = [path for path in checkpoints(packed) if path.parent.name == "runs" and path.parent.parent.name != "nested"]
    assert len(paths) == len(packed.expected["runs"]) + len(packed.expected["sweep"]) + len(packed.expected["half"])
    for path in paths:
        run = load_run(path)
        found, features = features_of(run, packed)
        for part, recorded in run.predictions.groupby("part"):
            split, computed = predict_part(run, features, part=str(part))
            ids = [features.ids[row] for row in split.rows(str(part))]
            table = recorded.set_index("id").loc[ids]
            assert len(ids) == len(table) > 0
            expected = table[[f"p_{name}" for name in run.classes]].to_numpy()
            np.testing.assert_allclose(computed[run.target.name], expected, rtol=0, atol=1e-5)
            chosen = [run.classes[int(place)] for place in expected.argmax(1)]
            assert table["predicted"].tolist() == chosen
            labels = found.table.samples.set_index("id")["label"]
            assert table["label"].tolist() == labels.loc[ids].tolist()


def features_of(run: Run, packed: Released) -> tuple[Any, Any]:
    """The stores of a run and what is read of them; RunError where a lexicon is another one than it was."""
    found, config = stores_of_run(run, packed.root / "cache"), run.config
    return found, load_features(
        found.table,
        found.stores,
        config.regions,
        config.keep_special,
        allow_missing=True,
        inputs=run.inputs,
        lexicons=run.lexicons,
        targets=config.targets,
    )


def later(packed: Released) -> dict[str, dict[str, Any]]:
    """The runs of other heads and targets by name; skip sets of before there were any."""
    if "later" not in packed.expected:
        pytest.skip("a set of before there were other heads and targets")
    expected: dict[str, dict[str, Any]] = packed.expected["later"]
    return expected


def test_runs_of_other_heads_and_targets_give_what_they_gave(packed: Released) -> None:
    """Of each target of a run, for each pair that its predictions name: probabilities and numbers to 1e-5."""
    expected = later(packed)
    assert {"itin", "text-only", "itin-plus", "pooled", "linear", "lexicon", "multisentinet"} == {
        one["head"] for one in expected.values()
    }
    read = 0
    for name, one in expected.items():
        run = load_run(packed.root / "later" / name)
        assert run.record["key"] == one["key"]
        assert run.metrics["test"] == one["test"]
        try:
            _, features = features_of(run, packed)
        except RunError:  # another version of the lexicon than that which the head has learnt from
            if name != "lexicon":
                raise
            continue
        for part in ("val", "test"):
            split, said = predict_part(run, features, part=part)
            said = decided(said, run.config.label_from)
            ids = [features.ids[row] for row in split.rows(part)]
            for place, target in enumerate(run.targets):
                recorded = read_csv(run.path / predictions_name(target.name if place else None)).loc[ids]
                columns = ["predicted"] if target.is_number else [f"p_{label}" for label in target.classes]
                values = recorded[columns].to_numpy(float)
                np.testing.assert_allclose(said[target.name].reshape(values.shape), values, rtol=0, atol=1e-5)
                read += len(ids)
    assert read > 50


def read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"id": str}).set_index("id")


def test_exported_heads_and_sweeps_on_inner_folds_open(packed: Released) -> None:
    expected = later(packed)
    head, run = Head.from_pretrained(packed.root / "exported"), load_run(packed.root / "later" / "best")
    assert [target.name for target in head.targets] == ["label", "text-label"]
    ours, theirs = head.state_dict(), run.head().state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    sweep = Sweep(packed.root / "nested")
    assert len(losses(sweep)) == len({trial.key for trial in sweep.definition.trials})
    assert len(list((packed.root / "nested" / "inner").iterdir())) == 4
    assert revealed(sweep) == packed.expected["nested"]
    assert expected.keys() == {path.name for path in (packed.root / "later").iterdir()}


def test_training_again_gives_the_same_run(packed: Released, tmp_path: Path) -> None:
    """The stores are found, the key is the recorded one, and the figures are the same but for rounding."""
    for path, expected in runs(packed):
        old = load_run(path)
        defaults = type(old.config)().to_dict()
        words: list[object] = ["--cache", packed.root / "cache", "--device", "cpu", "--out", tmp_path / path.name]
        for name, value in old.config.to_dict().items():
            if value != defaults[name]:
                words += [f"--{name.replace('_', '-')}", value]
        if path.name == "text-only":
            words += ["--protocol", "folds:3"]
        words += ["--text-encoder", "file-bert" if path.name == "text-only" else "random-bert"]
        itin("train", *words)
        new = load_run(tmp_path / path.name)
        assert new.record["key"] == expected["key"]
        assert new.parts == old.parts
        # Later epochs take any difference in rounding between processors further apart.
        assert new.history["val_loss"][0] == pytest.approx(old.history["val_loss"][0], rel=1e-3)


@pytest.mark.parametrize("name", ["itin", "concat", "text-only"])
def test_runs_predict(packed: Released, name: str, tmp_path: Path) -> None:
    run = packed.root / "runs" / name
    record = load_run(run).record
    inputs = ["tokens"] if name == "text-only" else ["regions", "tokens", "context"]
    built = run / "tokenizer.json"
    needs_same_encoders(packed, {kind: record["stores"][kind] for kind in inputs}, built if built.exists() else None)
    table = packed.root / "data" / "pairs.csv"
    table.write_text(
        "id,image,text\n1,data/1.jpg,a positive day\n2,data/2.jpg,a negative day :\n3,data/3.jpg,number 3\n"
    )
    itin("predict", run, "--table", table, "--out", tmp_path / "out.csv", "--device", "cpu")
    with (tmp_path / "out.csv").open(newline="") as file:
        found = [
            [row["predicted"], *(float(row[f"p_{one}"]) for one in record["labels"])] for row in csv.DictReader(file)
        ]
    expected = packed.expected["runs"][name]["predicted"]
    assert [row[0] for row in found] == [row[0] for row in expected]
    for row, other in zip(found, expected, strict=True):
        assert row[1:] == pytest.approx(other[1:], abs=2e-3)


def test_runs_and_sweeps_are_reported_on(packed: Released, tmp_path: Path) -> None:
    paths = [path for path, _ in runs(packed)]
    images = ["--images", packed.root / "data" / "data", "--cache", packed.root / "cache"]
    itin("report", *paths, packed.root / "sweep", *images, "--out", tmp_path / "report", "--figures", "none")
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/") >= 5
    summary = (tmp_path / "report" / "tables" / "summary.csv").read_text(encoding="utf-8")
    for _, expected in runs(packed):
        assert f"{100 * expected['test']['accuracy']:.1f}%" in summary


# Sweeps --------------------------------------------------------------------------------------------------------------


def losses(sweep: Sweep) -> dict[str, float]:
    table = sweep.results()
    assert set(table["status"]) == {"done"}
    return dict(zip(table["key"], table["val_loss"], strict=True))


def test_a_finished_sweep_opens_and_trains_nothing(released: Released) -> None:
    path = released.root / "sweep"
    assert losses(Sweep(path)) == released.expected["sweep"]
    before = content(path / "runs", "*")
    itin(
        "sweep", "--resume", path, "--cache", released.root / "cache", "--device", "cpu", "--stack", 2, "--reveal-test"
    )
    assert content(path / "runs", "*") == before
    assert len(json.loads((path / "test.json").read_bytes())["runs"]) == 2


def test_a_sweep_that_was_ended_trains_only_what_is_missing(released: Released) -> None:
    path = released.root / "half"
    before = content(path / "runs", "*")
    assert sorted(one.name for one in (path / "runs").iterdir()) == released.expected["half"]
    assert 0 < len(released.expected["half"]) < len(released.expected["sweep"])
    itin("sweep", "--resume", path, "--cache", released.root / "cache", "--device", "cpu", "--stack", 2)
    after = content(path / "runs", "*")
    assert {name: after[name] for name in before} == before
    assert losses(Sweep(path)) == pytest.approx(released.expected["sweep"], rel=1e-3)
