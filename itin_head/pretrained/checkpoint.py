"""A trained head out of its files, which are not trusted: safetensors and JSON alone, sizes and names checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...disk import describing, read_record
from ...errors import RunError
from ...targets import Target, outputs_of
from ...weights_file import UnsoundFile, differences, form_of, read_state
from ..config import HeadConfig
from ..ensemble import Ensemble, Partnered
from ..factory import make
from ..head import Head

CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.json"
"""The files of a head: its configuration and targets, its weights, and what it keeps beside them, if anything."""

FORMAT = 1
"""The version of these files."""

AGAIN = "export the run again (`itin export`), or fetch the whole folder again"


def open_head(folder: Path) -> tuple[Head, dict[str, Any]]:
    """Return the head of a folder, in evaluation mode on the CPU, and the record in its `config.json`.

    Args:
        folder: a run, or what `itin export --to safetensors` or `save_pretrained` wrote.

    Raises:
        RunError: a file is missing, damaged or of another form, or they do not fit each other.
    """
    path = folder / CONFIG
    record = read_record(path, AGAIN, FORMAT)
    state = state_of(folder / WEIGHTS)
    with describing(path, "a head", AGAIN):
        config = HeadConfig(**record["head"])
        targets = tuple(Target.from_dict(one) for one in record.get("targets", ()))
        if targets and outputs_of(targets) != config.classes:
            raise ValueError(f"targets of {outputs_of(targets)} outputs for a head of {config.classes}")
        beside = str(record.get("partner") or record.get("train", {}).get("partner", "none"))
        inside = "trained." if any(name.startswith("trained.") for name in state) else ""
        names = [name.removeprefix(inside) for name in state if name.startswith(inside)]
        members = len({name.split(".")[1] for name in names if name.startswith("members.")})
        if config.gru_layers > len(state):  # before so many are made
            raise ValueError(f"{config.gru_layers} layers of a GRU, and {len(state)} arrays in {WEIGHTS}")
        if (members or inside) and not targets:
            raise ValueError("several heads without targets")
        try:
            with torch.device("meta"):  # no memory, whatever the configuration asks for
                heads = [make(config) for _ in range(members or 1)]
                head = Ensemble(heads, targets) if members else heads[0]
                if inside:
                    head = Partnered(head, make(replace(config, head=beside, ablation="none")), targets)
        except RuntimeError as error:
            raise ValueError(f"sizes that no array has: {error}") from error
    head = fill(head, folder / WEIGHTS, state)
    head.targets = targets
    return head, record


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """Return the arrays of a head's weights.

    Raises:
        RunError: the file is missing, damaged or anything but safetensors; nothing is unpickled.
    """
    try:
        if (form := form_of(path)) != "safetensors":
            raise UnsoundFile(f"a file of the form {form}, which is not read")
        return read_state(path)
    except UnsoundFile as fault:
        raise RunError(
            f"cannot read the checkpoint {path}",
            expected="the trained head, as `itin train` wrote it",
            found=fault.found,
            next_step="copy the run's own model.safetensors again, or train the run again",
        ) from fault


def fill(head: Head, path: Path, state: dict[str, torch.Tensor], device: str | torch.device = "cpu") -> Head:
    """Give a head on the device `meta` its vocabulary, if it has one, and its weights; return it in evaluation mode.

    Args:
        head: of the configuration that the weights are of.
        path: the file of the weights, which the vocabulary stands beside.
        state: what it holds.
        device: where the head computes.

    Raises:
        RunError: the vocabulary cannot be read, or names or shapes differ from those of the configuration.
    """
    if head.vocabulary is not None:
        file = path.parent / VOCABULARY
        vocabulary = read_record(file, AGAIN, FORMAT)
        with describing(file, "the vocabulary of a run", AGAIN), torch.device("meta"):
            head.know(vocabulary)
    shapes = [{name: tuple(one.shape) for name, one in each.items()} for each in (head.state_dict(), state)]
    if (different := differences(*shapes)) is not None:
        raise RunError(
            f"the checkpoint {path} does not have the shapes of the run's config.json",
            expected="the head's parameters",
            found=different,
            next_step="put the run's own model.safetensors back, or train the run again",
        )
    head = head.to_empty(device=device)
    head.load_state_dict(state)
    return head.eval()
