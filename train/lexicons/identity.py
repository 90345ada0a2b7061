"""The identity of a lexicon: what its values depend on beside the text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...errors import RunError
from .registry import EXTRA, LEXICONS


def files_of(name: str) -> list[Path]:
    """Return the files of a lexicon's word list.

    Raises:
        RunError: the package that holds them is not installed.
    """
    spec = LEXICONS[name]
    if not spec.package:
        return []
    found = find_spec(spec.module)
    if found is None or not found.submodule_search_locations:
        needs = f"the lexicon {name} needs {spec.package}, which is not installed"
        raise RunError(needs, next_step=f"pip install '{EXTRA}'")
    return [Path(found.submodule_search_locations[0]) / file for file in spec.files]


@cache
def identity_of(name: str) -> dict[str, Any]:
    """Return a lexicon's identity: our revision, and package, version and digest of its word list if it has one.

    Raises:
        RunError: the package is not installed.
    """
    spec, digest = LEXICONS[name], hashlib.sha256()
    files = files_of(name)
    for file in files:
        digest.update(file.read_bytes())
    if not files:
        return {"revision": spec.revision}
    listed = {"package": spec.package, "version": version(spec.package), "sha256": digest.hexdigest()}
    return {"revision": spec.revision, **listed}


def identities_of(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the identities of lexicons by name."""
    return {name: identity_of(name) for name in names}
