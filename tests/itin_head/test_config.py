"""The head's configuration: its defaults, its checks, and that it needs no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import itin.itin_head as package
from itin.itin_head.config import HeadConfig


def test_defaults_are_the_papers() -> None:
    config = HeadConfig()
    assert (config.region_dim, config.token_dim, config.context_dim, config.classes) == (2048, 768, 512, 3)
    assert (config.d, config.k, config.hidden, config.lam) == (1024, 1024, 64, 0.2)
    assert (config.gate, config.ablation) == ("scalar", "none")


@pytest.mark.parametrize("name", ["region_dim", "token_dim", "context_dim", "classes", "d", "k", "hidden"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "8"])
def test_sizes_are_checked(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got {value!r}"):
        HeadConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf"), True, "0.2"])
def test_lam_is_checked(value: object) -> None:
    with pytest.raises(ValueError, match="lam: expected a number from 0 to 1, got"):
        HeadConfig(lam=value)  # type: ignore[arg-type]


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="gate: expected one of scalar, vector, got 'none'"):
        HeadConfig(gate="none")
    with pytest.raises(
        ValueError,
        match="ablation: expected one of none, no-align, no-gate, no-context, only-context, got 'no_gate'",
    ):
        HeadConfig(ablation="no_gate")


def test_public_names() -> None:
    for name in package.__all__:
        assert getattr(package, name).__class__ is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_configuration_needs_no_torch() -> None:
    code = "import sys; from itin.itin_head import HeadConfig; HeadConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0
