"""A machine without some packages: a process that cannot find them runs commands of itin.

    python absent.py '{"packages": ["pyarrow"], "commands": [["cache", "export", "tokens", "new.parquet"]]}'

Prints exit code, output and errors of each as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType
from typing import Any


class Without(DistributionFinder):
    """The finders of this process, but for some packages: neither imported, nor looked for, nor listed as installed.

    Args:
        packages: their names as they are imported.
    """

    def __init__(self, packages: Collection[str]) -> None:
        self._packages, self._finders = frozenset(packages), list(sys.meta_path)
        self._listed = {name.lower() for name in packages}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._packages:
            return None
        found = (finder.find_spec(fullname, path, target) for finder in self._finders)
        return next((spec for spec in found if spec is not None), None)

    def find_distributions(self, context: Any = None) -> Iterable[Distribution]:
        every = [getattr(finder, "find_distributions", lambda _: ())(context) for finder in self._finders]
        return [one for found in every for one in found if one.name.lower().replace("-", "_") not in self._listed]


def main() -> None:
    from inspect import signature

    from click.testing import CliRunner

    asked = json.loads(sys.argv[1])
    assert not set(asked["packages"]) & sys.modules.keys()
    sys.meta_path[:] = [Without(asked["packages"])]
    from itin.cli import main as itin

    apart: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in signature(CliRunner).parameters else {}
    said = []
    for words in asked["commands"]:
        done = CliRunner(**apart).invoke(itin, words, prog_name="itin")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        said.append((done.exit_code, done.stdout, done.stderr))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
