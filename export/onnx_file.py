"""A trained head as an ONNX graph, recorded by PyTorch's exporter and compared with the head in ONNX Runtime.

The exporter is the one that traces (`dynamo=False`): PyTorch has it from 2.6 to 2.14, it needs no onnxscript, and it
lets an operator be recorded as it is, so that a GRU stays one operator with the lengths of its texts. The newer one
(`dynamo=True`) fails on packed sequences (PyTorch 2.14), and needs an onnxscript that fits its PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

from ..errors import RunError
from ..itin_head import Head
from ..itin_head.extras import Extras
from ..itin_head.outputs import predicted
from ..itin_head.registry import HEADS, NAMES
from ..lazy import optional
from ..train.label_rule import decided
from ..train.lexicons.registry import LEXICONS
from ..train.runs.folder import Run
from .graph import Graph, entries

OPSET = 18
"""The version of ONNX's operators, that of ONNX 1.13 (2022)."""

CLOSE = 1e-5
"""The largest difference of a probability, or of a number as a share of half its span."""

SHAPES = ((3, 5), (2, 0), (0, 4), (0, 0), (1, 1))
"""Regions and words of the batches that the graph is tried on."""

Arrays = dict[str, NDArray[Any]]


def to_onnx(run: Run) -> tuple[bytes, dict[str, Any], float]:
    """Return the ONNX graph of a run's head, what its inputs and outputs are, and its largest difference to the head.

    Raises:
        RunError: the head has no such graph, onnx or onnxruntime is not installed, or the graph differs from the head
            by more than `CLOSE`.
    """
    check(run)
    runtime = optional("onnxruntime", "an ONNX graph needs onnxruntime", "itin[onnx]")
    head = run.head()
    graph = Graph(head, run.targets, run.config)
    model = trace(graph, batch(graph, head, 3, 4, np.random.default_rng(0)))
    session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
    worst = difference(run, head, graph, lambda arrays: session.run(None, arrays))
    if not worst <= CLOSE:
        raise RunError(
            f"the ONNX graph of {run.path} differs from its head",
            expected=f"the same to {CLOSE:g}, in ONNX Runtime {runtime.__version__}",
            found=f"a difference of {worst:.2g}",
            next_step="report it with these versions: PyTorch " + str(torch.__version__) + "; or export safetensors",
        )
    return model, description(run, graph.inputs), worst


def check(run: Run) -> None:
    """Raise RunError for a head without an ONNX graph."""
    if more := sorted(run.head_config.uses & set(NAMES)):
        raise RunError(
            f"the head {run.config.head} of {run.path} has no ONNX graph",
            expected="a head that reads neither names of regions nor ends of sentences",
            found=f"one that reads {', '.join(more)}",
            next_step="`itin export --to safetensors` writes its weights",
        )
    for role, config in zip(("head", "partner"), run.head_configs, strict=False):
        if HEADS[config.head].solved:
            without = "train the run again with `--partner none`; or " if role == "partner" else ""
            raise RunError(
                f"the {role} {config.head} of {run.path} has no ONNX graph",
                expected="a head that is trained step by step, on arrays alone",
                found="one that is solved for at once, and keeps words beside its weights",
                next_step=f"{without}`itin export --to safetensors` writes its weights, with these words as JSON",
            )


def trace(graph: Graph, arrays: Arrays) -> bytes:
    """Return the ONNX graph of a module, with any number of pairs, regions and words."""
    optional("onnx", "an ONNX graph needs onnx", "itin[onnx]")
    lengths = {"regions": "m", "region_mask": "m", "tokens": "n", "token_mask": "n", "token_ids": "n"}
    axes = {name: {0: "B", **({1: lengths[name]} if name in lengths else {})} for name in graph.inputs}
    outputs = [target.name for target in graph.targets]
    with warnings.catch_warnings(), torch.no_grad(), _Transposed(), TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")  # about the other exporter, and sizes that are constants of the head
        torch.onnx.export(
            graph,
            tuple(torch.from_numpy(arrays[name]) for name in graph.inputs),
            file,
            dynamo=False,
            input_names=list(graph.inputs),
            output_names=outputs,
            dynamic_axes={**axes, **{name: {0: "B"} for name in outputs}},
            opset_version=OPSET,
        )
        return file.read_bytes()


def difference(run: Run, head: Head, graph: Graph, compute: Callable[[Arrays], Iterable[NDArray[Any]]]) -> float:
    """Return the largest difference of a computed graph to its head, of a number as a share of half its span."""
    rng, worst = np.random.default_rng(1), 0.0
    for m, n in SHAPES:
        arrays = batch(graph, head, m, n, rng)
        said = _said(run, head, graph, arrays)
        found = compute({name: arrays[name] for name in graph.inputs})
        for target, own in zip(run.targets, found, strict=True):
            unit = (target.bounds[1] - target.bounds[0]) / 2 if target.is_number else 1
            worst = max(worst, float(np.max(np.abs(own - said[target.name]) / unit)))
    return worst


def batch(graph: Graph, head: Head, m: int, n: int, rng: np.random.Generator) -> Arrays:
    """Return made-up inputs of four pairs: m regions and n words, no more than are read; none; and two in between."""
    config, B = head.config, 4
    m, n = min(m, graph.recipe.regions), min(n, config.max_words)
    counts = {"m": rng.integers(0, m + 1, B), "n": rng.integers(0, n + 1, B)}
    for name, most in (("m", m), ("n", n)):
        counts[name][:2] = most, 0
    keys = head.table
    known = np.unique(keys >> 32) if keys is not None and len(keys) else np.zeros(1, np.int64)
    lexicons = rng.normal(size=(B, config.lexicon_values)).astype(np.float32)
    lexicons[1:2] = np.nan  # another language
    return {
        "regions": rng.normal(size=(B, m, config.region_dim)).astype(np.float32),
        "region_mask": np.arange(m) < counts["m"][:, None],
        "tokens": rng.normal(size=(B, n, config.token_dim)).astype(np.float32),
        "token_mask": np.arange(n) < counts["n"][:, None],
        "context": rng.normal(size=(B, config.context_dim)).astype(np.float32),
        "lexicons": lexicons,
        "token_ids": rng.choice(known, (B, n)).astype(np.int64),
        "scene": rng.normal(size=(B, config.scene_dim)).astype(np.float32),
    }


def _said(run: Run, head: Head, graph: Graph, arrays: Arrays) -> Mapping[str, NDArray[np.float64]]:
    """Return what the head itself says of the targets."""
    given = {name: torch.from_numpy(value) for name, value in arrays.items()}
    keys = torch.zeros(0, dtype=torch.int64) if head.table is None else torch.from_numpy(head.table)
    found = entries(keys, given["token_ids"], given["token_mask"])
    extras = Extras(given["lexicons"], found, scene=given["scene"])
    with torch.inference_mode():
        out = head(
            *(given[name] for name in ("regions", "tokens", "token_mask", "context", "region_mask")), extras=extras
        )
    return decided(predicted(out.logits, run.targets), run.config.label_from)


class _Transposed(TorchFunctionMode):
    """`mT` as a transposition, which the exporter knows."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__self__", None) is torch.Tensor.mT:
            return args[0].transpose(-2, -1)
        return func(*args, **(kwargs or {}))


def description(run: Run, graph_inputs: Iterable[str]) -> dict[str, Any]:
    """Return what the inputs and outputs of a run's graph are, for `model.json`."""
    config, recipe = run.head_config, run.config
    special = "with [CLS] and [SEP]" if recipe.keep_special else "without [CLS] and [SEP]"
    columns = [f"{name} {column}" for name in recipe.lexicon_names for column in LEXICONS[name].columns]
    known: dict[str, tuple[str, list[str | int], str]] = {
        "regions": (
            "float32",
            ["B", "m", config.region_dim],
            f"by descending score; the first {recipe.regions} are read",
        ),
        "region_mask": ("bool", ["B", "m"], "true at a region"),
        "tokens": (
            "float32",
            ["B", "n", config.token_dim],
            f"in the order of the text, {special}; the first {config.max_words} are read",
        ),
        "token_mask": ("bool", ["B", "n"], "true at a token; tokens first, padding after them"),
        "context": ("float32", ["B", config.context_dim], "of the whole image"),
        "lexicons": ("float32", ["B", config.lexicon_values], "; ".join(columns) + "; NaN where unknown"),
        "token_ids": ("int64", ["B", "n"], "the tokenizer's ids of the tokens"),
        "scene": ("float32", ["B", config.scene_dim], "of the whole image, by the encoder of the scene"),
    }
    return {
        "format": 1,
        "opset": OPSET,
        "inputs": {name: dict(zip(("dtype", "shape", "what"), known[name], strict=True)) for name in graph_inputs},
        "outputs": {target.name: {"dtype": "float32", **_output(target)} for target in run.targets},
    }


def _output(target: Any) -> dict[str, Any]:
    if target.is_number:
        return {"shape": ["B"], "what": "the number", "span": list(target.bounds)}
    return {"shape": ["B", len(target.classes)], "what": "probabilities", "classes": list(target.classes)}
