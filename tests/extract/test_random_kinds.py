"""Random weights for one kind alone: `--random-init context=3` beside a text encoder with weights from files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from click.testing import CliRunner

from itin.cache import open_store
from itin.cli import main
from itin.errors import CacheError
from itin.extract.encoders.wordpiece import build_tokenizer, train_wordpiece
from itin.train.config import TrainConfig
from itin.train.features.find import find_features
from itin.train.runs.folder import UNTRAINED_NOTE, load_run, untrained_note

NOTE = (
    "The context and regions features come from untrained encoders (random weights): they say nothing about sentiment."
)


def itin(*arguments: object) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A tiny BERT with weights and a tokenizer in files."""
    (tmp_path / "words.json").write_bytes(train_wordpiece(["a positive day", "a neutral day, number"]))
    tokenizer = build_tokenizer(tmp_path / "words.json")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=len(tokenizer), **sizes))
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_the_note_names_the_kinds() -> None:
    kinds = ("regions", "tokens", "context")
    assert untrained_note((), kinds) is None
    assert untrained_note(kinds, kinds) == UNTRAINED_NOTE
    assert untrained_note(["regions", "context"], kinds) == NOTE
    assert untrained_note(["context"], kinds) == NOTE.replace("context and regions", "context")


def test_from_extraction_to_prediction(
    trained: Path, tmp_path: Path, draw_mvsa: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITIN_CACHE", str(tmp_path / "cache"))
    root = draw_mvsa(tmp_path / "data", pairs=24)
    encoders = ["--regions", "grid-small", "--text-encoder", trained, "--max-regions", 2]
    words = ["extract", "--dataset", "mvsa-single", "--root", root, *encoders, "--device", "cpu"]
    said = itin(*words, "--random-init", "context=3,regions=0")
    assert NOTE in " ".join(said.split())
    folder = tmp_path / "cache" / "mvsa-single"
    stores = {path.name.partition("-")[0]: open_store(path) for path in folder.glob("*-*") if path.is_dir()}
    assert {kind: store.identity["weights"].get("random_init") for kind, store in stores.items()} == {
        "regions": 0, "tokens": None, "context": 3,
    }  # fmt: skip
    assert {store.options["random_init"] for store in stores.values() if store.options} == {"regions=0,context=3"}
    assert NOTE not in itin(*words, "--only", "tokens")  # trained, and there already
    assert "random, seed 3" in itin("cache", "info", stores["context"].path)
    same = itin(*words, "--random-init", 3, "--only", "context")  # one seed for all is the same encoder
    assert stores["context"].path.name in same
    assert UNTRAINED_NOTE in same

    with pytest.raises(CacheError, match="--context-encoder resnet18-center --random-init 3"):
        find_features(folder.parent, None, {}, [TrainConfig(center_crop=True)])

    said = itin("train", "--epochs", 1, "--m", 1, "--d", 4, "--k", 4, "--device", "cpu", "--out", tmp_path / "run")
    assert NOTE in " ".join(said.split())
    run = load_run(tmp_path / "run")
    assert (run.record["untrained_encoders"], run.note) == (["context", "regions"], NOTE)
    said = itin("predict", run.path, "--image", root / "data" / "1.jpg", "--text", "a positive day", "--device", "cpu")
    assert NOTE in " ".join(said.split())
    assert len([line for line in said.splitlines() if line.startswith(("positive", "neutral", "negative"))]) == 1

    sweep = tmp_path / "sweep"
    said = itin("sweep", "--m", "1", "--epochs", "1", "--d", "4", "--k", "4", "--device", "cpu", "--out", sweep)
    assert NOTE in " ".join(said.split())
    record = json.loads((sweep / "sweep.json").read_bytes())
    assert record["untrained"] == ["context", "regions"]
    assert NOTE in (sweep / "results.csv").read_text()


def test_other_kinds_ask_for_their_weights(trained: Path, tmp_path: Path, draw_mvsa: Callable[..., Path]) -> None:
    root = draw_mvsa(tmp_path / "data", pairs=3)
    words = ["extract", "--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache", "--device", "cpu"]
    words += ["--text-encoder", trained, "--detector-weights", tmp_path / "none.pt", "--random-init", "context=3"]
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 1
    assert "none.pt" in result.output
    assert not list((tmp_path / "cache").rglob("shard-*"))
