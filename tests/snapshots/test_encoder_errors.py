"""Errors of encoders and weights: names that nobody knows, files that are missing or others, code of a user's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..own_encoders import forget
from .errors import Case, held, wrote
from .world import EXTRACT, SMALL, tell

START = ("extract", "--dataset", "mvsa-single", "--root", "MVSA", "--cache", "new")
CONTEXT = (*START, "--only", "context", "--context-encoder")
TOKENS = (*START, "--only", "tokens", "--text-encoder")
REGIONS = (*START, "--only", "regions", "--regions")


def changed(before: str, after: str) -> None:
    path = Path("own.py")
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def second_context() -> None:
    """A second store of context features."""
    path = Path("own.py")
    path.write_text(path.read_text() + "\n\nclass Shade(Colour):\n    pass\n")
    forget(Path.cwd())
    assert tell(*EXTRACT, "--only", "context", "--context-encoder", "own:Shade").startswith("exit code 0")


CASES: dict[str, Case] = {
    # Weights that are not here, on a machine without a network
    "the detector's weights": [(*START, "--only", "regions")],
    "a model's weights": [(*TOKENS, "roberta-base"), (*CONTEXT, "resnet18"), (*CONTEXT, "google/vit-base-patch16-224")],
    "a name that nobody knows": [(*TOKENS, "no such model"), (*CONTEXT, "resnet19"), (*REGIONS, "yolo")],
    "weights that cannot be fetched": [
        ("weights", "fetch", "--only", "context"),
        ("weights", "pack", "packed", "--only", "tokens"),
        ("weights", "fetch", "--only", "words"),
    ],
    "a file of weights that is not there": [(*REGIONS, "vg-frcnn", "--detector-weights", "none.pkl")],
    "a file of other weights": [
        wrote("faster_rcnn.pkl", "no weights"),
        (*REGIONS, "vg-frcnn", "--detector-weights", "faster_rcnn.pkl"),
    ],
    "a folder that holds no model": [
        (*TOKENS, "./MVSA"),
        (*TOKENS, "./own.py"),
        wrote("bert/config.json", "{"),
        (*TOKENS, "./bert"),
    ],
    "random weights of an unknown model": [(*TOKENS, "roberta-base", "--random-init", 0)],
    "a detector for the whole image": [(*CONTEXT, "fasterrcnn_resnet50_fpn")],
    # Code of a user's own
    "a module that is not there": [(*CONTEXT, "theirs:Colour")],
    "a class that is not there": [(*CONTEXT, "own:Color")],
    "no class": [(*CONTEXT, "own:np")],
    "a module that fails": [wrote("broken.py", "import numpy\nnumpy.no_such_thing\n"), (*CONTEXT, "broken:Colour")],
    "a constructor that fails": [
        lambda: changed('EncoderSpec("context", "colour", {}', 'EncoderSpec("context", "colour"'),
        (*CONTEXT, "own:Colour"),
    ],
    "an encoder of another kind": [(*CONTEXT, "own:Letters")],
    "features of another shape": [
        lambda: changed('{"context": one.astype(np.float32)}', '{"context": one[:2].astype(np.float32)}'),
        (*CONTEXT, "own:Colour"),
    ],
    "features by another name": [
        lambda: changed('{"context": one', '{"vector": one'),
        (*CONTEXT, "own:Colour"),
    ],
    "an encoder that fails on every pair": [
        lambda: changed("return image.reshape(-1, 3).mean(0) / 256", "raise ValueError('no colours today')"),
        (*CONTEXT, "own:Colour"),
    ],
    # Features of several encoders
    "several encoders of a kind": [second_context, ("train", *SMALL)],
}


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, here: Path) -> None:
    held("encoders", CASES, title)
