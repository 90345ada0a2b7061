"""The defaults of a site's jobs: one small YAML file, which the command line overrides."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import ItinError
from ..fields import check, option
from .environment import overridden_by


class _TextLoader(yaml.SafeLoader):
    """A YAML loader that reads plain values as text: `on`, `0123`, `1e3`, `2:00:00`; only `null` is special."""


_TextLoader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [one for one in resolvers if one[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")])
}


_SBATCH = {"partition": "--partition", "gpus": "--gres", "time": "--time", "warn": "--signal"}
"""Field of `Site` -> the option of sbatch that it becomes."""


class SiteError(ItinError):
    """A site's defaults are invalid."""


@dataclass(frozen=True)
class Site:
    """The options of jobs submitted to Slurm."""

    partition: str | None = option(None, group="Slurm")
    """Partition of the jobs; by default the cluster's."""
    gpus: str | None = option(None, metavar="GPUS")
    """GPUs per task, in the form of Slurm's gres after `gpu:`: `1`, `a100:1`; by default no GPU."""
    time: str | None = option(None, metavar="TIME")
    """Walltime of a task, such as `2:00:00`; by default the partition's."""
    sbatch_options: tuple[str, ...] = option((), each="sbatch-option", metavar="OPTION")
    """Another option of every job, such as --sbatch-option=--account=lab; may be repeated."""
    light_options: tuple[str, ...] = option((), each="light-option", metavar="OPTION")
    """An option of the resubmission and the consolidation, which need no GPU, put last: --light-option=--partition=cpu;
    may be repeated."""
    prologue: tuple[str, ...] = option((), each="prologue", metavar="LINE")
    """Shell line that every job runs first, such as 'module load cuda'; may be repeated."""
    itin: str = option("", metavar="COMMAND")
    """How jobs call itin; by default the submitting Python with `-m itin`."""
    warn: int = option(60, least=1, most=65535)
    """Seconds before the end of the walltime at which a task is told to finish."""
    at_once: int | None = option(None, least=1)
    """The maximum number of tasks running at the same time; by default no limit."""

    def __post_init__(self) -> None:
        check(self)
        if self.time is not None and not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", self.time):
            raise ValueError(f"time: expected Slurm's form, such as 2:00:00 or 1-00:00:00, got {self.time!r}")
        if self.gpus is not None and not re.fullmatch(r"(\w[\w.-]*:)?\d+", self.gpus):
            raise ValueError(f"gpus: expected a number or type:number, got {self.gpus!r}")
        for one in (*self.sbatch_options, *self.light_options):
            if not one.startswith("-") or "\n" in one:
                raise ValueError(f"an option of sbatch begins with '-', got {one!r}")

    @property
    def command(self) -> str:
        """The command by which scripts call itin, quoted for the shell."""
        return self.itin or f"{shlex.quote(sys.executable)} -m itin"

    def overridden(self, typed: Mapping[str, Any]) -> Site:
        """Return these defaults, overridden by the options that were typed.

        Those of `sbatch_options` that set the same as a typed option are left out: the last one would count.
        """
        taken = {other for name in typed for other in overridden_by(_SBATCH.get(name, ""))}
        kept = tuple(one for one in self.sbatch_options if not taken.intersection(overridden_by(one)))
        return replace(self, **{"sbatch_options": kept, **typed})


def site_file() -> Path:
    """Return the file of a site's defaults: `$ITIN_SITE`, else `~/.config/itin/site.yaml`."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(os.environ.get("ITIN_SITE") or Path(config) / "itin" / "site.yaml").expanduser()


def read_site(path: Path | None = None) -> Site:
    """Return the defaults of a site; those of `Site` if there is no file.

    Args:
        path: the file; None: that of `site_file`, which need not exist.

    Raises:
        SiteError: the file is not YAML, has an unknown key, or a value of the wrong form.
    """
    if path is None and not site_file().exists():
        return Site()
    path = path or site_file()
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _TextLoader) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        reason = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
        raise SiteError(
            f"cannot read the site's defaults {path}{where}: {reason}",
            expected="YAML such as `partition: gpu`, a line for each default",
            next_step="fix the file, or name another with --site",
        ) from error
    names = [field.name for field in fields(Site)]
    if not isinstance(found, dict) or (unknown := sorted(set(map(str, found)) - set(names))):
        raise SiteError(
            f"{path} does not hold a site's defaults",
            expected=f"some of {', '.join(names)}",
            found=", ".join(unknown) if isinstance(found, dict) else f"a {type(found).__name__}",
            next_step="fix the file: docs/clusters.md shows one",
        )
    try:
        return Site(**{name: _value(name, value) for name, value in found.items()})
    except (ValueError, TypeError) as error:
        raise SiteError(f"{path}: {error}") from error


def _value(name: str, value: Any) -> Any:
    if name in ("sbatch_options", "light_options", "prologue"):
        lines = value.removesuffix("\n").split("\n") if isinstance(value, str) else value
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise ValueError(f"{name}: expected a list of texts, got {value!r}")
        return tuple(lines)
    if name in ("warn", "at_once"):
        if not isinstance(value, str) or not re.fullmatch(r"[+-]?\d+", value):
            raise ValueError(f"{name}: expected a whole number, got {value!r}")
        return int(value)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: expected one text, got {value!r}")
    return value
