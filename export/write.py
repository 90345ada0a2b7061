"""`itin export`: the folder of a run's head in one of the forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .. import disk
from ..errors import ItinError, RunError
from ..itin_head.pretrained.fetch import CARD
from ..train.runs.folder import Run
from .card import card_of
from .encoders import FILE, encoders_of
from .folder import head_files
from .forms import FORMS

MODEL, DESCRIPTION = "model.onnx", "model.json"

GRAPH = """`model.onnx` takes padded arrays and their masks; B, m and n may be any number, m and n also 0, and
what stands at padding is not read. `model.json` says the same for programs.

| input | dtype | shape | what |
|---|---|---|---|
{inputs}

| output | shape | what |
|---|---|---|
{outputs}

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
{names} = session.run(None, {{{given}}})
```"""


class Exported(NamedTuple):
    """What was written."""

    path: Path
    """The folder."""
    files: tuple[str, ...]
    """Its files."""
    difference: float | None
    """The largest difference between the ONNX graph and the head on made-up pairs; None in another form."""


def export(
    run: Run, to: str, out: Path | None = None, *, licence: str | None = None, with_encoders: bool = False
) -> Exported:
    """Write the head of a run into a new folder.

    Args:
        run: the run.
        to: one of `forms.FORMS`.
        out: the folder; by default one of the run's name in the current folder.
        licence: the licence of the weights, as the hub names licences, for the model card.
        with_encoders: whether to say in `encoders.json` too which models made the features.

    Raises:
        RunError: the folder is there already or cannot be written, the head cannot be read, or has no ONNX graph.
        ValueError: another form.
    """
    if to not in FORMS:
        raise ValueError(f"to: expected one of {', '.join(FORMS)}, got {to!r}")
    out = Path(f"{run.path.resolve().name}-{to}") if out is None else out
    if out.exists() or out.is_symlink():
        raise RunError(
            f"{out} is already there",
            expected="a free name: nothing is overwritten",
            next_step="choose another --out, or move it away",
        )
    worst = None
    if to == "onnx":
        from .onnx_file import to_onnx

        model, described, worst = to_onnx(run)
        card = card_of(run, licence, _use(described))
        files = {MODEL: model, DESCRIPTION: disk.to_json(described), CARD: card.encode()}
        files |= {FILE: disk.to_json(encoders_of(run))} if with_encoders else {}
    else:
        files = head_files(run, licence, with_encoders)
    return Exported(disk.create_folder(out, files, fault=_fault), tuple(files), worst)


def _use(described: dict[str, Any]) -> str:
    inputs, outputs = described["inputs"], described["outputs"]
    told = {
        "inputs": "\n".join(
            f"| `{name}` | {one['dtype']} | {_shape(one)} | {one['what']} |" for name, one in inputs.items()
        ),
        "outputs": "\n".join(
            f"| `{name}` | {_shape(one)} | {one['what']} {_values(one)} |" for name, one in outputs.items()
        ),
        "names": ", ".join(f"out{place}" for place in range(len(outputs))) + "," * (len(outputs) == 1),
        "given": ", ".join(f'"{name}": {name}' for name in inputs),
    }
    return GRAPH.format(**told)


def _shape(described: dict[str, Any]) -> str:
    return f"({', '.join(map(str, described['shape']))})"


def _values(described: dict[str, Any]) -> str:
    if "classes" in described:
        return "of " + ", ".join(described["classes"])
    return "from {:g} to {:g}".format(*described["span"])


def _fault(path: Path, error: OSError) -> ItinError:
    return RunError(
        f"cannot write {path}: {error.strerror or error}", next_step="fix the cause, or choose another place with --out"
    )
