"""Run folders: what is in them, that they are whole or absent, and that what is wrong with one is told."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from itin import disk
from itin.errors import RunError
from itin.itin_head import ITINHead
from itin.labels import LABELS
from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.loop import Fit, fit
from itin.train.protocols.split import Split, random_split
from itin.train.runs import folder as runs
from itin.train.runs import write as writing
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import Run, load_run
from itin.train.runs.key import Identity
from itin.train.runs.write import check_free, run_name, write_run

from ..test_weights_file import PAGE, POINTER

pytestmark = pytest.mark.usefixtures("one_thread")

NOW = datetime(2024, 1, 31, 14, 25, 30, tzinfo=timezone.utc)
CONFIG = TrainConfig(d=6, k=5, hidden=4, epochs=2, batch_size=16)
ODD_IDS = ["NA", "007", 'a,"b', "null", "ä\n"]


def make_features() -> Features:
    rng = np.random.default_rng(0)
    n = 60
    lengths = rng.integers(1, 5, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Features(
        ids=[*ODD_IDS, *(str(i) for i in range(n - len(ODD_IDS)))],
        labels=rng.integers(3, size=n),
        regions=rng.normal(size=(n, 2, 7)).astype(np.float16),
        counts=rng.integers(3, size=n),
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float16),
        offsets=offsets,
        context=rng.normal(size=(n, 4)).astype(np.float16),
        dataset="my set",
        labelled=62,
        missing={"regions": 2, "tokens": 0, "context": 0},
    )


def make_stores(untrained: bool = False) -> dict[str, Any]:
    return {
        kind: SimpleNamespace(
            path=Path(f"/cache/{kind}-x"),
            fingerprint=f"{kind}0123456789abcdef",
            identity={"kind": kind, "name": "x"},
            untrained=untrained and kind != "context",
            options={"regions": "grid"},
            tokenizer_file=None,
        )
        for kind in ("regions", "tokens", "context")
    }


TABLE: Any = SimpleNamespace(dataset={"name": "my set", "root": "/data"}, samples=pd.DataFrame())


def write_of(fit: Fit, features: Features, split: Split, stores: dict[str, Any], **options: Any) -> Path:
    """Write a run's folder, as `itin train` does."""
    key = Identity(features, TABLE, stores).key(fit.config, split)
    return write_run(fit, features, split, TABLE.dataset, stores, key, **options)


class Made:
    """A run, and what it was made of."""

    def __init__(self, parent: Path) -> None:
        self.features = make_features()
        self.split: Split = random_split(self.features.ids, 0)
        self.fit: Fit = fit(CONFIG, self.features, self.split)
        self.path = self.write(parent=parent)

    def write(self, stores: dict[str, Any] | None = None, **options: Any) -> Path:
        stores = stores if stores is not None else make_stores()
        return write_of(self.fit, self.features, self.split, stores, **{"now": NOW, **options})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("project") / "runs")


@pytest.fixture
def run(made: Made) -> Run:
    return load_run(made.path)


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A run of one's own, to be spoilt."""
    return made.write(out=tmp_path / "copy")


# Writing -------------------------------------------------------------------------------------------------------------


def test_names() -> None:
    assert run_name(TrainConfig(), "mvsa-single", NOW) == "20240131-142530-mvsa-single-m2-lam0.2-seed0"
    assert (
        run_name(TrainConfig(m=5, lam=0.25, ablation="no-gate", seed=3), "a/b c", NOW)
        == "20240131-142530-a_b_c-m5-lam0.25-no-gate-seed3"
    )
    assert run_name(TrainConfig(m=0), "", NOW) == "20240131-142530-data-m0-lam0.2-only-context-seed0"


def test_whole_and_nothing_else(made: Made) -> None:
    assert made.path.name == "20240131-142530-my_set-m2-lam0.2-seed0"
    assert sorted(path.name for path in made.path.iterdir()) == sorted(runs.FILES)
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]


def test_names_are_unique(made: Made, tmp_path: Path) -> None:
    paths = [made.write(parent=tmp_path) for _ in range(3)]
    assert [path.name.removeprefix(paths[0].name) for path in paths] == ["", "-2", "-3"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_nothing_is_written_over(made: Made, tmp_path: Path) -> None:
    out = made.write(out=tmp_path / "deep" / "run")
    assert out == tmp_path / "deep" / "run"
    with pytest.raises(RunError, match=r"run is already there[\s\S]*never overwritten[\s\S]*choose another --out"):
        made.write(out=out)
    with pytest.raises(RunError, match="is already there"):
        check_free(out)
    check_free(tmp_path / "free")


def test_folder_that_appears_meanwhile_is_spared(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "check_free", lambda out: None)
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match=r"cannot write the run .*already exists"):
        made.write(out=tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("place", ["mkdir", "write", "rename"])
def test_failed_write_leaves_nothing(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target = {"mkdir": (Path, "mkdir"), "write": (disk, "_write"), "rename": (Path, "rename")}[place]
    with monkeypatch.context() as patch:
        patch.setattr(*target, full)
        with pytest.raises(RunError, match=r"cannot write the run .*No space left on device"):
            made.write(parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_kill_leaves_no_run(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, data: bytes) -> None:
        if path.name == "model.safetensors":
            raise KeyboardInterrupt
        path.write_bytes(data)

    monkeypatch.setattr(disk, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        made.write(parent=tmp_path)
    assert list(tmp_path.iterdir()) == []


# Contents ------------------------------------------------------------------------------------------------------------


def test_configuration(made: Made, run: Run) -> None:
    assert run.config == CONFIG
    assert run.head_config == made.fit.head
    record = json.loads((made.path / "config.json").read_text())
    assert record == run.record
    assert record["format"] == 1
    assert record["labels"] == ["positive", "neutral", "negative"]
    assert record["dataset"] == TABLE.dataset
    assert record["samples"] == {"labelled": 62, "used": 60, "missing": {"regions": 2, "tokens": 0, "context": 0}}
    assert record["split"] == made.split.description
    assert record["stores"]["tokens"] == {
        "path": "/cache/tokens-x",
        "fingerprint": "tokens0123456789abcdef",
        "identity": {"kind": "tokens", "name": "x"},
        "options": {"regions": "grid"},
    }
    assert record["untrained_encoders"] == []
    assert run.note is None


def test_untrained_encoders_are_noted(made: Made, tmp_path: Path) -> None:
    run = load_run(made.write(make_stores(untrained=True), out=tmp_path / "run"))
    assert run.record["untrained_encoders"] == ["regions", "tokens"]
    named = "The regions and tokens features come from untrained encoders (random weights)"
    assert run.note == f"{named}: they say nothing about sentiment."


def test_metrics(made: Made, run: Run) -> None:
    assert run.metrics["best_epoch"] == made.fit.best_epoch
    assert run.metrics["selected_by"].startswith("validation accuracy")
    assert run.metrics["val"] == made.fit.metrics["val"]
    assert run.metrics["test"] == made.fit.metrics["test"]


def test_tables(made: Made, run: Run) -> None:
    assert run.history.to_dict("records") == made.fit.history
    assert run.parts == dict(made.split.pairs(made.features.ids))
    assert list(run.parts) == made.features.ids
    table = run.predictions
    assert list(table) == ["id", "part", "label", "predicted", "p_positive", "p_neutral", "p_negative"]
    for part in ("val", "test"):
        rows = made.split.rows(part)
        own = table[table["part"] == part]
        assert own["id"].tolist() == [made.features.ids[row] for row in rows]
        assert own["label"].tolist() == [LABELS[label] for label in made.features.labels[rows]]
        probabilities = own[[f"p_{label}" for label in LABELS]].to_numpy()
        assert np.array_equal(probabilities, made.fit.probabilities[part])
        assert own["predicted"].tolist() == [LABELS[one] for one in probabilities.argmax(1)]


def test_environment(made: Made, run: Run) -> None:
    environment = run.environment
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert environment["written"] == "2024-01-31T14:25:30+00:00"
    assert {"itin", "python", "numpy", "platform", "device_name", "threads", "training_seconds"} <= set(environment)


def test_head(made: Made, run: Run) -> None:
    before = torch.get_rng_state()
    head = run.head()
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(head, ITINHead)
    assert not head.training
    assert head.config == made.fit.head
    assert set(head.state_dict()) == set(made.fit.state_dict)
    assert all(torch.equal(value, made.fit.state_dict[name]) for name, value in head.state_dict().items())


def test_same_run_same_bytes(made: Made, copy: Path) -> None:
    for name in runs.FILES:
        assert (copy / name).read_bytes() == (made.path / name).read_bytes()


# Evaluating ----------------------------------------------------------------------------------------------------------


def test_evaluate_repeats_the_figures(made: Made, run: Run) -> None:
    assert evaluate(run, made.features) == made.fit.metrics["test"]
    assert evaluate(run, made.features, part="val") == made.fit.metrics["val"]
    assert evaluate(run, made.features, part="train")["n"] == len(made.split.train)


def test_evaluate_finds_its_samples_among_others(made: Made, run: Run) -> None:
    order = np.random.default_rng(1).permutation(len(made.features))
    features = made.features
    lengths = np.diff(features.offsets)[order]
    moved = replace(
        features,
        ids=[*(features.ids[row] for row in order), "new"],
        labels=np.append(features.labels[order], 0),
        regions=np.concatenate([features.regions[order], features.regions[:1]]),
        counts=np.append(features.counts[order], 1),
        tokens=np.concatenate([features.tokens[features.offsets[r] : features.offsets[r + 1]] for r in order]),
        offsets=np.concatenate([[0], np.cumsum(lengths), [lengths.sum()]]),
        context=np.concatenate([features.context[order], features.context[:1]]),
    )
    again, before = evaluate(run, moved), dict(made.fit.metrics["test"])
    assert again.pop("loss") == pytest.approx(before.pop("loss"), rel=1e-6)
    assert again == before


def test_evaluate_refuses_other_features(made: Made, run: Run) -> None:
    features = made.features
    with pytest.raises(RunError, match=r"do not fit the run[\s\S]*context_dim = 4\n  found:    context_dim = 3"):
        evaluate(run, replace(features, context=features.context[:, :3]))
    ids = [*features.ids[:-1], "other"]
    with pytest.raises(
        RunError, match=rf"lack samples[\s\S]*all 60 of its split.csv\n  found:    missing: 1 \({features.ids[-1]}\)\n"
    ):
        evaluate(run, replace(features, ids=ids))
    many = ["pics/" + sample for sample in features.ids]
    with pytest.raises(RunError, match=r"missing: 60 \(.* and so on\); likely cause: .*folders before the name"):
        evaluate(run, replace(features, ids=many))
    renamed = run.predictions.assign(id=["x" + sample for sample in run.predictions["id"]])
    with pytest.raises(RunError, match=r"predictions.csv does not hold the pairs [\s\S]*in split.csv only: 6 \("):
        evaluate(run.with_predictions(renamed), features)
    with pytest.raises(RunError, match=r"labels are not those of the run[\s\S]*found:    another label of 6 pairs: "):
        evaluate(run, replace(features, labels=(features.labels + 1) % 3))


def test_evaluate_without_regions(made: Made, tmp_path: Path) -> None:
    blind = fit(replace(CONFIG, m=0), made.features, made.split)
    path = write_of(blind, made.features, made.split, make_stores(), out=tmp_path / "run")
    without = replace(made.features, regions=np.zeros((60, 0, 0), np.float16))
    assert evaluate(load_run(path), without) == blind.metrics["test"]
    assert evaluate(load_run(path), made.features) == blind.metrics["test"]
    stores = make_stores()
    del stores["regions"]
    load_run(path).check_stores(stores)


def test_other_stores_are_refused(run: Run) -> None:
    run.check_stores(make_stores())
    other = make_stores()
    other["tokens"].fingerprint = "fedcba9876543210"
    with pytest.raises(
        RunError,
        match=r"trained on other tokens features\n  expected: /cache/tokens-x, fingerprint tokens012345\n"
        r"  found:    /cache/tokens-x, fingerprint fedcba987654",
    ):
        run.check_stores(other)
    del other["tokens"]
    with pytest.raises(RunError, match="found:    no store"):
        run.check_stores(other)


# What is wrong with a run --------------------------------------------------------------------------------------------


def test_not_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder[\s\S]*found:    nothing[\s\S]*that `itin train` printed"):
        load_run(tmp_path / "none")
    with pytest.raises(RunError, match=r"found:    a folder without one"):
        load_run(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"found:    a file"):
        load_run(str(tmp_path / "file"))


@pytest.mark.parametrize("name", runs.FILES[1:])
def test_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(RunError, match=rf"copy is not complete[\s\S]*found:    no {name}\n  next: "):
        load_run(copy)


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_unreadable_json(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(RunError, match=rf"cannot read .*{name}: "):
        load_run(copy)
    (copy / name).write_text("[]")
    with pytest.raises(RunError, match=rf"cannot read .*{name}: not a JSON object"):
        load_run(copy)
    (copy / name).write_text('{"format": 2}')
    with pytest.raises(RunError, match=r"newer than this itin[\s\S]*found:    format 2\n  next:     update itin"):
        load_run(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("stores"), "found:    missing 'stores'"),
        (lambda record: record["train"].update(tricks=1), "found:    unknown fields: tricks"),
        (lambda record: record["train"].update(m=-1), "found:    m: expected an integer of at least 0, got -1"),
        (lambda record: record["head"].update(gates=1), "found:    .*unexpected keyword argument 'gates'"),
    ],
)
def test_configuration_of_something_else(copy: Path, change: Any, message: str) -> None:
    record = json.loads((copy / "config.json").read_text())
    change(record)
    (copy / "config.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=rf"config.json does not describe a run of this itin[\s\S]*{message}"):
        load_run(copy)


def test_checkpoint_of_another_shape(copy: Path) -> None:
    path = copy / "model.safetensors"
    whole = load_file(path)
    save_file({**whole, "W_f.weight": torch.zeros(3, 9)}, path)
    with pytest.raises(
        RunError,
        match=r"model.safetensors does not have the shapes[\s\S]*"
        r"found:    1 of another shape: W_f.weight \(3, 9\) instead of \(3, 4\)\n  next:  ",
    ):
        load_run(copy).head()
    save_file({name: value for name, value in whole.items() if name != "W_o.bias"}, path)
    with pytest.raises(RunError, match=r"found:    1 missing: W_o.bias"):
        load_run(copy).head()
    save_file({**whole, "mlp_c.0.bias": torch.zeros(4)}, path)
    with pytest.raises(RunError, match=r"found:    1 unknown: mlp_c.0.bias"):
        load_run(copy).head()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"rubbish", "7 bytes that begin with 'rubbish'"),
        (b"", "an empty file"),
        (POINTER, "a Git LFS pointer"),
        (PAGE, "a web page"),
        (None, r"\d+ bytes, where its header declares \d+: it was cut off"),
    ],
)
def test_checkpoint_that_is_none(copy: Path, content: bytes | None, found: str) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5] if content is None else content)
    with pytest.raises(
        RunError, match=rf"cannot read the checkpoint .*model.safetensors\n  expected: .*\n  found:    {found}"
    ):
        load_run(copy).head()


def test_unreadable_tables(copy: Path) -> None:
    for name in ("history.csv", "predictions.csv", "split.csv"):
        (copy / name).write_bytes(b"")
    (copy / "environment.json").write_text("")
    run = load_run(copy)
    for attribute, name in (("history", "history.csv"), ("predictions", "predictions.csv"), ("parts", "split.csv")):
        with pytest.raises(RunError, match=rf"cannot read .*{name}"):
            getattr(run, attribute)
    with pytest.raises(RunError, match=r"cannot read .*environment.json"):
        _ = run.environment
    (copy / "split.csv").write_text("id,part\n1,dev\n")
    with pytest.raises(
        RunError, match=r"cannot read .*split.csv\n  expected: the columns id and part, parts among train"
    ):
        _ = load_run(copy).parts
