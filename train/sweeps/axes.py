"""The axes of a sweep, and the configurations that they span. No torch."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ...fields import kind_of, limits_of
from ..config import TrainConfig
from ..presets import PresetOptions, short_name, with_preset

if TYPE_CHECKING:
    from ..protocols.split import Inner

PAPER = {"m": "0:6", "lam": "0:1:0.1", "ablation": "all"}
"""The paper's axes: Fig. 5, Fig. 6 and Table III."""

MODES = ("grid", "paper", "random", "optuna")

_FIELDS = {field.name: field for field in (*fields(PresetOptions), *fields(TrainConfig))}

Axes = dict[str, tuple[Any, ...]]
Adapted = Mapping[str, Mapping[str, Any]]

AS_THEY_ARE: Adapted = {}
"""No preset is adapted."""


@dataclass(frozen=True)
class Trial:
    """One configuration of a sweep; it may be on several axes, and is trained once."""

    axis: str
    """The paper's axis that it is on (`m`, `lam`, `ablation`), or how it was found: `grid`, `random`, `trial 7`."""
    config: TrainConfig
    key: str = field(default="", compare=False)
    """The key of its run, `key.Identity.of`; empty until the features are known."""
    inner: Inner | None = None
    """The fold of the training part that it is scored on; None for a run on all of it."""

    @property
    def name(self) -> str:
        """The name of its run folder: readable, and unique for each key."""
        fold = f"-fold{self.config.fold}" if self.config.fold else ""
        inner = "" if self.inner is None else f"-inner{self.inner.fold}"
        return f"{short_name(self.config)}{fold}{inner}-seed{self.config.seed}-{self.key}"


@dataclass(frozen=True)
class SweepPlan:
    """The trials of a sweep, in order, and the combinations that are not valid."""

    trials: list[Trial]
    left_out: list[str]
    """The reasons, one line per combination that is not valid."""


def parse_values(name: str, text: str) -> tuple[Any, ...]:
    """Return the values of one field, each once, in the order given.

    Args:
        name: a field of `TrainConfig`, or `preset`.
        text: values and ranges, separated by commas: `2`, `256,512`, `0:6` (both ends included), `0:1:0.1`,
            `true,false`, `none`, or `all` for a field with named values.

    Raises:
        ValueError: no such field, or a value that is not one of its values.
    """
    if name not in _FIELDS:
        raise ValueError(f"{name!r} is not a field of the configuration: expected one of {', '.join(_FIELDS)}")
    values: list[Any] = []
    for part in text.split(","):
        for value in _part(name, part.strip()):
            try:
                TrainConfig(**with_preset({name: value}))
            except ValueError as error:
                raise ValueError(f"{name}={text}: {str(error).removeprefix(f'{name}: ')}") from error
            if value not in values:
                values.append(value)
    return tuple(values)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return seeds: `5` means 0 to 4, `3,7` and `10:19` just these."""
    if text.strip().isdigit():
        if int(text) < 1:
            raise ValueError(f"seeds: expected at least 1, got {text}")
        return tuple(range(int(text)))
    try:
        return parse_values("seed", text)
    except ValueError as error:
        raise ValueError(str(error).replace("seed=", "seeds=", 1)) from error


def make_plan(
    mode: str,
    axes: Mapping[str, Sequence[Any]],
    seeds: Sequence[int],
    number: int | None = None,
    folds: Sequence[int] = (0,),
    adapted: Adapted = AS_THEY_ARE,
    inner_folds: int = 0,
) -> SweepPlan:
    """Return the trials of a sweep; `optuna` has none in advance.

    Args:
        mode: one of `MODES`. `grid` takes all combinations. `paper` varies m, λ and the ablation one at a time, the
            other two staying at the paper's choice; further axes of more than one value are combined with these.
            `random` draws `number` of the grid's combinations, each at most once.
        axes: values by field; a field that is left out keeps its default, in `paper` m, lam and ablation those of
            `PAPER`. A `fold` among them is ignored in favour of `folds`.
        seeds: every configuration is trained with each of these.
        number: how many combinations, for `random`.
        folds: every configuration is trained with each of these.
        adapted: the fields that a preset has another way here, `presets.fitted`, by preset.
        inner_folds: the folds of its training part that every configuration is scored on; 0 for none.

    Raises:
        ValueError: no configuration is left to train, or a wrong mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    if mode == "optuna":
        return SweepPlan([], [])
    left_out: list[str] = []
    axes = {name: values for name, values in axes.items() if name != "fold"}
    if mode == "paper":
        others = {name: values for name, values in axes.items() if name not in PAPER}
        own: Axes = {name: tuple(axes.get(name) or parse_values(name, text)) for name, text in PAPER.items()}
        points = [
            (name, {**other, name: value})
            for name, values in own.items()
            for other in combinations(others)
            for value in values
        ]
    elif mode == "random":
        if number is None or number < 1:
            raise ValueError(f"number: expected at least 1, got {number}")
        points = [("random", point) for point in _draw(axes, number, adapted)]
    else:
        points = [("grid", point) for point in combinations(axes)]
    trials: list[Trial] = []
    for axis, point in points:
        try:
            config = TrainConfig(**with_preset(point, adapted))
        except ValueError as error:
            reason = f"{', '.join(f'{name}={value}' for name, value in point.items())}: {error}"
            if reason not in left_out:
                left_out.append(reason)
            continue
        for seed, fold in itertools.product(seeds, folds):
            one = replace(config, seed=seed, fold=fold)
            trials.extend(Trial(axis, one, inner=inner) for inner in inner_of(inner_folds))
    if not trials:
        raise ValueError("no configuration is left to train" + "".join(f"\n  {reason}" for reason in left_out))
    return SweepPlan(trials, left_out)


def inner_of(folds: int) -> list[Inner | None]:
    """Return the inner folds of a configuration; None alone where it is trained on the whole training part."""
    from ..protocols.split import Inner

    return [Inner(fold, folds) for fold in range(folds)] or [None]


def combinations(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield all combinations of the axes' values, the last axis changing fastest."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def readers(
    trials: Iterable[Trial], axes: Mapping[str, Sequence[Any]], adapted: Adapted = AS_THEY_ARE
) -> list[TrainConfig]:
    """Return configurations that together read all features that a sweep needs.

    Args:
        trials: the trials of the sweep; a guided search has none in advance.
        axes: the values that such a search may propose.
        adapted: as for `make_plan`.
    """
    if configs := [trial.config for trial in trials]:
        return configs
    read = ("preset", "head", "m", "ablation", "keep_special", "center_crop", "lexicons", "scene")
    asked = (*read, "target", "target_weights", "select")
    points = combinations({name: axes[name] for name in asked if name in axes})
    found = [config_of(point, adapted) for point in points]
    return [config for config in found if config is not None] or [TrainConfig()]


def config_of(point: Mapping[str, Any], adapted: Adapted = AS_THEY_ARE) -> TrainConfig | None:
    """Return the configuration of a combination; None where it is not valid (m = 0 with no-context)."""
    try:
        return TrainConfig(**with_preset(point, adapted))
    except ValueError:
        return None


def _draw(axes: Mapping[str, Sequence[Any]], number: int, adapted: Adapted) -> list[dict[str, Any]]:
    """Draw `number` different valid combinations with a fixed seed, or return all where there are fewer."""
    every = [point for point in combinations(axes) if config_of(point, adapted) is not None]
    return random.Random(0).sample(every, min(number, len(every)))


def _part(name: str, text: str) -> Sequence[Any]:
    field = _FIELDS[name]
    base, choices = kind_of(field), tuple(limits_of(field).choices)
    if text == "all":
        if not choices:
            raise ValueError(f"{name}=all: expected values, for {name} has no list of all")
        return choices
    if text == "none" and base != field.type:
        return [None]
    if base == "str":
        return [text]
    if base == "bool":
        if text not in ("true", "false"):
            raise ValueError(f"{name}={text}: expected true or false")
        return [text == "true"]
    convert: Callable[[Decimal], Any] = float if base == "float" else int
    try:
        numbers = [Decimal(one) for one in text.split(":")]
    except InvalidOperation:
        raise ValueError(f"{name}={text}: expected a number, or a range such as 0:6 or 0:1:0.1") from None
    if base == "int" and any(number != int(number) for number in numbers if number.is_finite()):
        raise ValueError(f"{name}={text}: expected integers")
    if not all(number.is_finite() for number in numbers):
        raise ValueError(f"{name}={text}: expected finite numbers")
    if len(numbers) == 1:
        return [convert(numbers[0])]
    if len(numbers) > 3 or (len(numbers) == 2 and base == "float"):
        raise ValueError(f"{name}={text}: expected begin:end:step, such as 0:1:0.1")
    begin, end, step = (*numbers, Decimal(1))[:3]
    if step <= 0 or end < begin:
        raise ValueError(f"{name}={text}: expected begin:end:step that goes upwards")
    return [convert(begin + step * i) for i in range(int((end - begin) / step) + 1)]
