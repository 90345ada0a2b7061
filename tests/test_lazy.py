"""Packages whose names load their modules when they are first asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

import itin.cache
import itin.export
import itin.itin_head
import itin.predict
import itin.train
from itin.cache.format.schema import fingerprint_of
from itin.errors import CacheError
from itin.lazy import optional
from itin.train.runs.folder import load_run

PACKAGES = (itin.cache, itin.export, itin.itin_head, itin.predict, itin.train)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda one: one.__name__)
def test_every_public_name_is_there_and_no_other(package: object) -> None:
    for name in package.__all__:  # type: ignore[attr-defined]
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match=r"module 'itin\.\w+' has no attribute 'nothing'"):
        package.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_names_are_those_of_their_modules() -> None:
    assert itin.cache.fingerprint_of is fingerprint_of
    assert itin.train.load is load_run


def test_a_package_alone_loads_nothing_heavy() -> None:
    code = (
        "import sys, itin.cache, itin.export, itin.itin_head, itin.predict, itin.train; "
        "assert not {'torch', 'pandas', 'h5py', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_help_of_no_command_loads_anything_heavy() -> None:
    code = """
import sys, click
from click.testing import CliRunner
from itin.cli import main

def shown(words, command):
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0 and result.output.startswith(f"Usage: main {' '.join(words)}".rstrip()), words
    heavy = {"torch", "numpy", "pandas", "h5py", "rich", "PIL", "importlib.metadata"} & set(sys.modules)
    assert not heavy, (words, heavy)
    if isinstance(command, click.Group):
        return sum(shown([*words, name], command.get_command(None, name)) for name in command.list_commands(None))
    return 1

assert shown([], main) > 25
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("call", "frozen"), [("program()", True), ("main()", False)])
def test_only_the_command_itself_leaves_what_is_loaded_to_no_collector(call: str, frozen: bool) -> None:
    code = (
        "import atexit, gc, sys; from itin.cli import main, program; sys.argv = ['itin', 'train', '--help']; "
        f"atexit.register(lambda: print(gc.get_freeze_count() > 0)); {call}"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str(frozen)


def test_what_is_not_installed_is_named_with_its_package() -> None:
    assert optional("json", "this needs JSON", "json").loads("[1]") == [1]
    with pytest.raises(CacheError, match=r"^a boat needs Noah, which is not installed\n  next:     pip install 'ark'"):
        optional("itin.no_such_module", "a boat needs Noah", "ark", CacheError)
