"""Which configurations a sweep is made of, and which of them are the same."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from itin.train.config import TrainConfig
from itin.train.features.features import Features
from itin.train.protocols.split import random_split
from itin.train.runs.key import Identity, canonical
from itin.train.sweeps.axes import Trial, make_plan, parse_seeds, parse_values

TENTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


# Values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("m", "2", (2,)),
        ("m", "0:6", (0, 1, 2, 3, 4, 5, 6)),
        ("m", "0:6:2", (0, 2, 4, 6)),
        ("m", "1:6:2", (1, 3, 5)),
        ("m", "5,1:3,2", (5, 1, 2, 3)),
        ("lam", "0:1:0.1", TENTHS),  # the numbers that one writes, not 0.30000000000000004
        ("lam", "0,1e-1", (0.0, 0.1)),
        ("d", "256, 512", (256, 512)),
        ("d", "1e3", (1000,)),
        ("lr", "1e-3,3e-4", (1e-3, 3e-4)),
        ("gate", "all", ("scalar", "vector")),
        ("ablation", "all", ("none", "no-align", "no-gate", "no-context", "only-context")),
        ("ablation", "no-gate,none", ("no-gate", "none")),
        ("keep_special", "true,false", (True, False)),
        ("batch_size", "none,32", (None, 32)),
    ],
)
def test_values(name: str, text: str, values: tuple[Any, ...]) -> None:
    parsed = parse_values(name, text)
    assert parsed == values
    assert [type(value) for value in parsed] == [type(value) for value in values]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("wings", "2", "'wings' is not a field of the configuration: expected one of preset, head"),
        ("m", "two", "m=two: expected a number, or a range such as 0:6"),
        ("m", "", "m=: expected a number"),
        ("m", "1.5", "m=1.5: expected integers"),
        ("m", "nan", "m=nan: expected finite numbers"),
        ("m", "-1", "m=-1: expected an integer of at least 0, got -1"),
        ("lam", "0:1", "lam=0:1: expected begin:end:step, such as 0:1:0.1"),
        ("m", "0:1:1:1", "m=0:1:1:1: expected begin:end:step"),
        ("m", "6:0", "m=6:0: expected begin:end:step that goes upwards"),
        ("m", "0:6:0", "m=0:6:0: expected begin:end:step that goes upwards"),
        ("lam", "0:2:0.5", "lam=0:2:0.5: expected a number from 0 to 1, got 1.5"),
        ("m", "all", "m=all: expected values, for m has no list of all"),
        ("m", "none", "m=none: expected a number"),
        ("ablation", "no-hope", "ablation=no-hope: expected one of none, no-align"),
        ("keep_special", "yes", "keep_special=yes: expected true or false"),
    ],
)
def test_wrong_values(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_values(name, text)


def test_seeds() -> None:
    assert parse_seeds("5") == (0, 1, 2, 3, 4)
    assert parse_seeds("3,7") == (3, 7)
    assert parse_seeds("10:12") == (10, 11, 12)
    with pytest.raises(ValueError, match="seeds: expected at least 1, got 0"):
        parse_seeds("0")


def test_every_field_has_values() -> None:
    for field in fields(TrainConfig):
        value = getattr(TrainConfig(), field.name)
        text = "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        assert parse_values(field.name, text) == (value,)


# Plans ---------------------------------------------------------------------------------------------------------------


def test_grid() -> None:
    plan = make_plan("grid", {"m": (1, 2), "d": (4, 8)}, (0, 1))
    points = [(p.config.m, p.config.d, p.config.seed) for p in plan.trials]
    assert points == [(m, d, seed) for m in (1, 2) for d in (4, 8) for seed in (0, 1)]
    assert {p.axis for p in plan.trials} == {"grid"}
    assert plan.left_out == []
    assert make_plan("grid", {}, (3,)).trials == [Trial("grid", TrainConfig(seed=3))]


def test_combinations_that_are_no_configuration_are_left_out() -> None:
    plan = make_plan("grid", {"m": (0, 1), "ablation": ("none", "no-context")}, (0, 1))
    assert len(plan.trials) == 6
    assert plan.left_out == [
        "m=0, ablation=no-context: m: 0 leaves no region, and the ablation no-context no context: leave one of them out"
    ]
    with pytest.raises(
        ValueError, match=r"no configuration is left to train\n  m=0, ablation=no-context: m: 0 leaves no region"
    ):
        make_plan("grid", {"m": (0,), "ablation": ("no-context",)}, (0,))


def test_paper() -> None:
    plan = make_plan("paper", {}, (0, 1, 2, 3, 4))
    assert len(plan.trials) == 5 * (7 + 11 + 5)
    by_axis = {
        axis: [p.config for p in plan.trials if p.axis == axis and p.config.seed == 0]
        for axis in ["m", "lam", "ablation"]
    }
    assert [(c.m, c.lam, c.ablation) for c in by_axis["m"]] == [(m, 0.2, "none") for m in range(7)]
    assert [(c.m, c.lam, c.ablation) for c in by_axis["lam"]] == [(2, lam, "none") for lam in TENTHS]
    assert [(c.m, c.lam) for c in by_axis["ablation"]] == [(2, 0.2)] * 5
    distinct = {canonical(p.config, "mvsa-single") for p in plan.trials if p.config.seed == 0}
    assert len(distinct) == 20  # (2, 0.2, none) stands on all three axes, m = 0 is only-context
    assert len({canonical(p.config, "mvsa-single") for p in plan.trials}) == 100


def test_paper_with_other_axes() -> None:
    plan = make_plan("paper", {"m": (1, 2), "d": (8, 16)}, (0,))
    assert len(plan.trials) == 2 * (2 + 11 + 5)
    assert {p.config.d for p in plan.trials} == {8, 16}
    assert {p.config.m for p in plan.trials} == {1, 2}


def test_random() -> None:
    axes = {"m": tuple(range(7)), "lam": TENTHS, "ablation": ("none", "no-context")}
    plan = make_plan("random", axes, (0, 1), 12)
    points = [(p.config.m, p.config.lam, p.config.ablation) for p in plan.trials if p.config.seed == 0]
    assert len(set(points)) == len(points) == 12
    assert (0, 0.0, "no-context") not in points
    assert make_plan("random", axes, (0, 1), 12) == plan  # drawn with a fixed seed
    assert len(make_plan("random", {"m": (1, 2)}, (0,), 12).trials) == 2
    with pytest.raises(ValueError, match="number: expected at least 1, got None"):
        make_plan("random", axes, (0,))


def test_modes() -> None:
    assert make_plan("optuna", {"m": (1, 2)}, (0,), 5).trials == []
    with pytest.raises(ValueError, match="mode: expected one of grid, paper, random, optuna, got 'best'"):
        make_plan("best", {}, (0,))


# Identity ------------------------------------------------------------------------------------------------------------


def test_what_a_configuration_does_not_use_makes_no_difference() -> None:
    def same(one: TrainConfig, other: TrainConfig) -> bool:
        return canonical(one, "x") == canonical(other, "x")

    base = TrainConfig()
    assert same(replace(base, m=0), replace(base, ablation="only-context"))
    assert same(replace(base, m=0, gate="vector", k=5), replace(base, m=0))
    assert same(replace(base, ablation="no-align", k=5), replace(base, ablation="no-align"))
    assert same(replace(base, ablation="no-gate", gate="vector"), replace(base, ablation="no-gate"))
    assert same(replace(base, ablation="no-context", lam=1), replace(base, ablation="no-context"))
    assert same(replace(base, batch_size=64), base)
    assert not same(replace(base, batch_size=128), base)
    assert canonical(base, "mvsa-multiple") == canonical(replace(base, batch_size=128), "mvsa-multiple")
    for change in (
        {"m": 3},
        {"lam": 0.3},
        {"gate": "vector"},
        {"ablation": "no-gate"},
        {"k": 5},
        {"seed": 1},
        {"lr": 1.0},
    ):
        assert not same(replace(base, **change), base)


def made(**changes: Any) -> tuple[Features, Any, Any]:
    n = 10
    features = Features(
        ids=[f"i{i}" for i in range(n)],
        labels=np.arange(n) % 3,
        regions=np.zeros((n, 2, 3)),
        counts=np.full(n, 2),
        tokens=np.zeros((n, 2)),
        offsets=np.arange(n + 1),
        context=np.zeros((n, 4)),
        dataset="x",
    )
    samples = pd.DataFrame({"id": features.ids, "image_sha256": ["a"] * n, "text_sha256": ["b"] * n})
    stores = {kind: SimpleNamespace(fingerprint=f"{kind}0") for kind in ("regions", "tokens", "context")}
    return replace(features, **changes), SimpleNamespace(samples=samples, dataset={}), stores


def test_key() -> None:
    features, table, stores = made()
    split = random_split(features.ids, 0)
    config = TrainConfig()
    key = Identity(features, table, stores).key(config, split)
    assert re.fullmatch("[0-9a-f]{12}", key)
    identity = Identity(features, table, stores)
    assert identity.key(config, split) == key
    assert identity.key(replace(config, split_seed=9), split) == key  # the parts are what counts
    assert identity.key(replace(config, m=0), split) == identity.key(replace(config, ablation="only-context"), split)
    others = [
        identity.key(replace(config, seed=1), split),
        identity.key(config, random_split(features.ids, 1)),
        Identity(replace(features, labels=features.labels[::-1].copy()), table, stores).key(config, split),
        Identity(replace(features, ids=[*features.ids[:-1], "new"]), table, stores).key(config, split),
        Identity(replace(features, context=np.zeros((10, 5))), table, stores).key(config, split),
        Identity(replace(features, dataset="y"), table, stores).key(config, split),
    ]
    for kind in stores:
        other = {**stores, kind: SimpleNamespace(fingerprint="other")}
        others.append(Identity(features, table, other).key(config, split))
    changed = SimpleNamespace(samples=table.samples.assign(text_sha256=["c", *"b" * 9]), dataset={})
    others.append(Identity(features, changed, stores).key(config, split))
    assert len({key, *others}) == 1 + len(others)


def test_what_is_not_looked_at_is_not_in_the_key() -> None:
    features, table, stores = made()
    split = random_split(features.ids, 0)
    other = {**stores, "regions": SimpleNamespace(fingerprint="other")}
    without = {kind: store for kind, store in stores.items() if kind != "regions"}
    blind = TrainConfig(m=0)
    key = Identity(features, table, stores).key(blind, split)
    assert Identity(features, table, other).key(blind, split) == key
    assert Identity(replace(features, regions=np.zeros((10, 0, 0))), table, without).key(blind, split) == key
    more = replace(features, regions=np.zeros((10, 5, 3)))  # as read for a sweep over m
    assert Identity(more, table, stores).key(TrainConfig(), split) == Identity(features, table, stores).key(
        TrainConfig(), split
    )
    no_context = TrainConfig(ablation="no-context")
    other = {**stores, "context": SimpleNamespace(fingerprint="other")}
    assert Identity(features, table, other).key(no_context, split) == Identity(features, table, stores).key(
        no_context, split
    )
