"""Python and the packages: what itin requires, what fits together, and which versions are known to misbehave."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING, NamedTuple

from .finding import Asked, Finding, bad, doubtful, good

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LEAST_PYTHON = (3, 10)


class Known(NamedTuple):
    """Versions of a package that are known to misbehave."""

    package: str
    versions: str
    """Which ones, as pip writes it."""
    what: str
    fatal: bool
    """Whether itin as a whole is concerned, not one of its uses."""
    instead: str
    """What to install instead."""


KNOWN = (
    Known("transformers", "==4.57.0", "was withdrawn by its authors", True, "transformers>=4.57.1"),
    Known("torch", "<2.6", "transformers refuses to read pytorch_model.bin with it", True, "torch>=2.6"),
)


def python(asked: Asked) -> Iterator[Finding]:
    """Check the interpreter's version."""
    here, where = platform.python_version(), f"{sys.executable}, {platform.system()} {platform.machine()}"
    newest = _newest_tested()
    if sys.version_info < LEAST_PYTHON:
        yield bad(f"Python {here} ({where})", "install Python 3.10 or newer, and itin in an environment of it")
    elif newest is not None and sys.version_info[:2] > newest:
        tried = ".".join(map(str, newest))
        yield doubtful(f"Python {here} ({where}); itin is tested up to {tried}", f"take Python {tried} if it fails")
    else:
        yield good(f"Python {here} ({where})")


def packages(asked: Asked) -> Iterator[Finding]:
    """Check that what itin requires is installed, in versions that it takes and that take each other."""
    try:
        needed = requirements_of("itin")
    except PackageNotFoundError:
        yield doubtful("itin runs from a folder; it is not installed", "install it: pip install . in its folder")
        return
    faults = list(unmet(needed))
    for one, found in faults:
        yield bad(f"{one.name} {found or 'is not installed'}; itin needs {one}", f"pip install '{one}'")
    ours = {one.name for one in needed}
    for package in sorted(ours):
        try:
            others = [one for one in requirements_of(package) if one.name in ours]
        except PackageNotFoundError:
            continue
        for one, found in unmet(others):
            if found is not None:
                fault = f"{package} {installed(package)} needs {one}, and {one.name} {found} is installed"
                faults.append((one, found))
                yield bad(fault, f"let pip choose both: pip install --upgrade {package} {one.name}")
    if not faults:
        yield good(f"{len(needed)} required packages, in versions that fit together")


def misbehaving(asked: Asked) -> Iterator[Finding]:
    """Check for versions that are known to misbehave."""
    from packaging.specifiers import SpecifierSet

    found = False
    for one in KNOWN:
        here = installed(one.package)
        if here is not None and SpecifierSet(one.versions).contains(here, prereleases=True):
            found = True
            state = bad if one.fatal else doubtful
            yield state(f"{one.package} {here}: {one.what}", f"pip install '{one.instead}'")
    if not found:
        yield good("none that is known to misbehave")


def installed(package: str) -> str | None:
    """Return the version of a package that is installed, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def requirements_of(package: str) -> list[Requirement]:
    """Return what a package requires here, without its extras.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found = []
    for text in requires(package) or ():
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            one.name = canonicalize_name(one.name)
            found.append(one)
    return found


def unmet(needed: list[Requirement]) -> Iterator[tuple[Requirement, str | None]]:
    """Return the requirements that are not met, with the version that is installed instead; None: no version is."""
    for one in needed:
        here = installed(one.name)
        if here is None or not one.specifier.contains(here, prereleases=True):
            yield one, here


def _newest_tested() -> tuple[int, int] | None:
    """Return the newest version of Python among the package's classifiers."""
    try:
        lines = metadata("itin").get_all("Classifier") or []
    except PackageNotFoundError:
        return None
    numbers = [line.removeprefix("Programming Language :: Python :: ") for line in lines]
    return max((tuple(map(int, one.split("."))) for one in numbers if one.startswith("3.")), default=None)  # type: ignore[return-value]
