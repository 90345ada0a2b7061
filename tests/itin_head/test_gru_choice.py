"""The choice of how the GRU is computed, and the build of its C++ form."""

# ruff: noqa: F811  (a fixture that is imported)
from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itin.itin_head.gru import choose as recurrence
from itin.itin_head.gru.choose import WORTH_BUILDING, choose, operations, side_by_side
from itin.train.config import TrainConfig
from itin.train.loop import compute_for
from itin.train.protocols.split import Split

from .test_gru import CPU, made_up, needs_compiler  # noqa: F401

pytestmark = pytest.mark.usefixtures("one_thread")


def test_work_is_counted() -> None:
    config = TrainConfig(d=512, epochs=1)
    one_direction_one_word = 2 * 3 * 512 * (768 + 512)
    assert operations(config.d, 1000, 768, config.epochs) == 3 * 2 * 1000 * one_direction_one_word


def test_choice(needs_compiler: None) -> None:
    assert choose("auto", CPU, WORTH_BUILDING / 2) == "packed"
    assert choose("auto", CPU, WORTH_BUILDING) == "compiled"
    assert choose("auto", torch.device("meta"), WORTH_BUILDING) == "packed"
    assert choose("auto", torch.device("cuda"), WORTH_BUILDING) == "torch"
    assert [choose(gru, CPU, 0) for gru in ("packed", "torch", "compiled")] == ["packed", "torch", "compiled"]
    with pytest.raises(ValueError, match="gru: expected one of auto, compiled, fused, packed, torch, got 'quick'"):
        choose("quick", CPU, 0)
    with pytest.raises(ValueError, match="gru: compiled runs on a CPU only, expected another one for device meta"):
        choose("compiled", torch.device("meta"), 0)
    with pytest.raises(ValueError, match="gru: fused runs on a CUDA device only, expected another one for device cpu"):
        choose("fused", CPU, 0)


def test_fused_cells_are_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, said = torch.device("cuda"), list[str]()
    monkeypatch.setattr(recurrence, "fused_failure", lambda device: "no such thing")
    with pytest.raises(ValueError, match="fused is not available on device cuda: no such thing"):
        choose("fused", cuda, 0)
    assert side_by_side("auto", cuda, said.append) == "packed"
    assert said == ["The GRU's cells run in PyTorch, slower: they could not be fused (no such thing)"]
    monkeypatch.setattr(recurrence, "fused_failure", lambda device: None)
    assert choose("fused", cuda, 0) == "fused"
    assert [side_by_side(gru, cuda) for gru in ("auto", "fused", "packed", "torch")] == ["fused"] * 2 + ["packed"] * 2
    assert [side_by_side(gru, CPU) for gru in ("auto", "compiled")] == ["packed"] * 2
    assert len(said) == 1


def test_steps_are_graphs_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(recurrence, "fused_failure", lambda device: None)
    features = made_up(4)
    split = Split(np.arange(2), np.arange(2, 3), np.arange(3, 4), {})
    config = TrainConfig(m=1)

    def chosen(config: TrainConfig, device: torch.device, *how: Any) -> tuple[bool, str]:
        compute = compute_for([config], features, split, device, *how)
        return compute.graphs, compute.recurrence

    assert chosen(config, cuda, "auto") == (True, "fused")
    assert chosen(config, cuda, "packed") == (True, "packed")
    assert chosen(config, cuda, "torch") == (False, "torch")  # which cuDNN computes
    assert chosen(config, cuda, "auto", False) == (False, "torch")
    assert chosen(config, cuda, "auto", False, "bfloat16") == (False, "fused")
    assert chosen(config, CPU, "auto") == (False, "packed")
    assert chosen(config, CPU, "auto", True) == (True, "packed")  # in their shapes
    others = replace(config, mask=False), replace(config, mixup=0.2), replace(config, dropout=0.1)
    for other in (*others, TrainConfig(head="linear")):
        assert not chosen(other, cuda, "auto")[0]


def test_why_fused_cells_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here as on a machine without Triton, or with one that does not compile or computes something else."""
    monkeypatch.setattr(recurrence, "fused_failure", recurrence.fused_failure.__wrapped__)
    assert str(recurrence.fused_failure(CPU)).split(":")[0].endswith("Error")  # Triton has no driver, or is not there
    real = recurrence.bigru
    for factor, want in ((1.0, None), (1.01, "its numbers differ by 0.02 of the largest")):

        def bigru(*arguments: Any, recurrence: str, factor: float = factor) -> Tensor:
            W: Tensor = real(*arguments, recurrence="packed")
            return W * (factor if recurrence == "fused" else 1)

        monkeypatch.setattr(recurrence, "bigru", bigru)
        assert recurrence.fused_failure(CPU) == want


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_compiler(tmp_path: Path) -> None:
    code = (
        "import torch; from itin.itin_head.gru.choose import choose; said = []\n"
        "print(choose('compiled', torch.device('cpu'), 0, said.append), choose('auto', torch.device('cpu'), 1e15))\n"
        "print(len(said), said[0])\n"
        "choose('compiled', torch.device('cpu'), 0)"
    )
    process = python(code, CXX="/no/such/compiler", XDG_CACHE_HOME=str(tmp_path))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    lines = out.splitlines()
    assert lines[0] == "packed packed"
    assert len(lines) == 2
    assert lines[1].startswith("1 The GRU's steps run in PyTorch, a little slower: its C++ part could not be built (")
    assert "UserWarning: The GRU's steps run in PyTorch, a little slower: its C++ part could not be built (" in err
    assert not list(tmp_path.glob("**/*.so"))


def test_several_processes_compile_and_a_killed_one_does_no_harm(tmp_path: Path, needs_compiler: None) -> None:
    code = "import torch; from itin.itin_head.gru import compiled; compiled.load(); print(compiled.loaded())"
    killed = python(code, XDG_CACHE_HOME=str(tmp_path))
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("itin/*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not list(tmp_path.glob("itin/compiled/*.so"))
    several = [python(code, XDG_CACHE_HOME=str(tmp_path)) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in several]
    assert [out for out, _ in outputs] == ["True\n"] * 2, outputs
    (library,) = tmp_path.glob("itin/compiled/*")
    assert library.name.startswith("gru-")
