"""Fields with limits: what is refused and how it is said, and the help that their docstrings are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itin.fields import Limits, check, groups_of, helps, option


@dataclass(frozen=True)
class Base:
    """A dataclass with one field of every kind."""

    count: int = option(1, least=1, group="Numbers")
    """How many,
    by default one."""
    seed: int = option(0, least=0, most=9)
    "From 0 to 9."
    whole: int = option(0)
    share: float = option(0.5, least=0, below=1)
    """A share."""
    rate: float | None = option(None, above=0)
    """A rate."""


@dataclass(frozen=True)
class Some(Base):
    """One that derives from it.

    Args:
        count: "how many", and more:
    """

    flag: bool = option(False, group="Others")
    """A flag."""
    color: str = option(
        "red",
        choices=("red", "blue"),
    )
    """A color."""
    name: str | None = None
    """A name."""
    other: tuple[int, ...] = ()
    """Not checked."""

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("count", 0, "count: expected an integer of at least 1, got 0"),
        ("count", True, "count: expected an integer of at least 1, got True"),
        ("count", None, "count: expected an integer of at least 1, got None"),
        ("count", 1.0, "count: expected an integer of at least 1, got 1.0"),
        ("seed", 10, "seed: expected an integer from 0 to 9, got 10"),
        ("whole", "1", "whole: expected an integer, got '1'"),
        ("share", 1, "share: expected a number from 0 to below 1, got 1"),
        ("share", math.nan, "share: expected a number from 0 to below 1, got nan"),
        ("rate", 0, "rate: expected a number above 0 or None, got 0"),
        ("rate", math.inf, "rate: expected a number above 0 or None, got inf"),
        ("flag", 1, "flag: expected True or False, got 1"),
        ("color", "green", "color: expected one of red, blue, got 'green'"),
        ("color", ["red"], "color: expected one of red, blue, got ['red']"),
        ("name", 3, "name: expected a text or None, got 3"),
    ],
)
def test_wrong_values(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Some(**{field: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


NUMBERS: st.SearchStrategy[Any] = st.integers() | st.floats() | st.just(10**400) | st.booleans() | st.text() | st.none()
FITS: dict[str, Callable[[Any], bool]] = {
    "count": lambda value: type(value) is int and value >= 1,
    "seed": lambda value: type(value) is int and 0 <= value <= 9,
    "whole": lambda value: type(value) is int,
    "share": lambda value: type(value) in (int, float) and 0 <= value < 1,
    "rate": lambda value: value is None or (type(value) in (int, float) and 0 < value < math.inf),
}


@given(st.sampled_from(sorted(FITS)), NUMBERS | st.integers(-2, 12) | st.floats(-1, 2))
def test_any_value_is_taken_or_refused(field: str, value: Any) -> None:
    if FITS[field](value):
        assert getattr(Some(**{field: value}), field) == value
    else:
        with pytest.raises(ValueError, match=f"{field}: expected "):
            Some(**{field: value})


def test_docstrings_are_the_help() -> None:
    assert helps(Some) == {
        "count": "How many, by default one.",
        "seed": "From 0 to 9.",
        "share": "A share.",
        "rate": "A rate.",
        "flag": "A flag.",
        "color": "A color.",
        "name": "A name.",
        "other": "Not checked.",
    }


def test_a_heading_holds_until_the_next() -> None:
    groups = groups_of(Some)
    assert {groups[name] for name in ("count", "seed", "share", "rate")} == {"Numbers"}
    assert {groups[name] for name in ("flag", "color", "name", "other")} == {"Others"}


def test_limits_without_a_range_say_nothing() -> None:
    assert Limits().span == ""
    assert Limits(above=0).span == "above 0"
