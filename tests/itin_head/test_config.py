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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": "hydra"}, "head: expected one of itin, global-local, concat, .*, got 'hydra'"),
        ({"head": "concat", "ablation": "no-gate"}, "for the head concat has no ablations; got no-gate"),
        ({"head": "itin-plus", "ablation": "no-context"}, "expected none, no-align, no-gate, for .*; got no-context"),
        ({"normalize": 1}, "normalize: expected True or False, got 1"),
        ({"pooling_heads": 0}, "pooling_heads: expected an integer of at least 1, got 0"),
        ({"gru_layers": True}, "gru_layers: expected an integer of at least 1, got True"),
        ({"gru_dropout": 1.0}, "gru_dropout: expected a number from 0 to below 1, got 1.0"),
        ({"filters": 1}, "filters: expected an integer of at least 2, got 1"),
        ({"hops": 0}, "hops: expected an integer of at least 1 or None, got 0"),
        ({"max_words": 2.5}, "max_words: expected an integer of at least 1, got 2.5"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeadConfig(**values)  # type: ignore[arg-type]


def test_public_names() -> None:
    for name in package.__all__:
        assert getattr(package, name).__class__ is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_configuration_needs_no_torch() -> None:
    code = "import sys; from itin.itin_head import HeadConfig; HeadConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd="/").returncode == 0
