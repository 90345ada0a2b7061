"""tests/release/lowest.txt against setup.cfg: `.ci/run --all` and the workflow install exactly what is declared."""

from __future__ import annotations

import configparser

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from .source import ROOT

ABOVE = {"pyarrow": "datasets 4.0 needs pyarrow 15", "protobuf": "4.21 is the first release of 4"}
"""Packages that cannot be had in their declared least version, with the reason."""


def declared() -> list[Requirement]:
    """What `pip install 'itin[test]'` asks for on Python 3.10, extras of extras included."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {name: text.split("\n") for name, text in config["options.extras_require"].items()}

    def of(lines: list[str]) -> list[Requirement]:
        found = []
        for one in map(Requirement, filter(None, lines)):
            found += (
                [each for extra in sorted(one.extras) for each in of(extras[extra])] if one.name == "itin" else [one]
            )
        return found

    return of(config["options"]["install_requires"].split("\n")) + of(extras["test"])


def pinned() -> dict[str, Version]:
    lines = (ROOT / "tests/release/lowest.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_each_pin_is_the_least_that_is_declared() -> None:
    pins, seen = pinned(), dict[str, Version]()
    for one in declared():
        name = canonicalize_name(one.name)
        assert one.specifier.contains(pins[name]), f"{one}, and lowest.txt has {pins[name]}"
        for bound in one.specifier:
            if bound.operator in (">=", "=="):
                seen[name] = max(seen.get(name, Version("0")), Version(bound.version))
    assert len(seen) > 30
    above = {name for name, least in seen.items() if pins[name].release[:2] > (*least.release, 0)[:2]}  # 1.11 is 1.11.1
    assert above == set(ABOVE)
