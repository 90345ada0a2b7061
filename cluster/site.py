"""The defaults of a site's jobs: one small YAML file, which the command line overrides."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import ItinError


class _TextLoader(yaml.SafeLoader):
    """A YAML loader that reads plain values as text: `on`, `0123`, `1e3`, `2:00:00`; only `null` is special."""


_TextLoader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [one for one in resolvers if one[0] in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")])
}


class SiteError(ItinError):
    """A site's defaults are invalid."""


@dataclass(frozen=True)
class Site:
    """The options of jobs submitted to Slurm."""

    partition: str | None = None
    """Partition of the jobs; None: the cluster's default."""
    gpus: str | None = None
    """GPUs per task, in the form of Slurm's gres after `gpu:`: `1`, `a100:1`; None: no GPU."""
    time: str | None = None
    """Walltime of a task, such as `2:00:00`; None: the partition's default."""
    sbatch_options: tuple[str, ...] = ()
    """Further options of sbatch for every job, such as `--account=lab`."""
    light_options: tuple[str, ...] = ()
    """Options of sbatch for the two light jobs, resubmission and consolidation, put last: `--partition=cpu`."""
    prologue: tuple[str, ...] = ()
    """Shell lines that every job runs first: `module load cuda`, `source venv/bin/activate`."""
    itin: str = ""
    """The command by which jobs call itin; empty: the submitting Python with `-m itin`."""
    warn: int = 60
    """Seconds before the end of the walltime at which a task is told to finish."""
    at_once: int | None = None
    """The maximum number of tasks of an array running at the same time; None: no limit."""

    def __post_init__(self) -> None:
        if self.time is not None and not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", self.time):
            raise ValueError(f"time: expected Slurm's form, such as 2:00:00 or 1-00:00:00, got {self.time!r}")
        if self.gpus is not None and not re.fullmatch(r"(\w[\w.-]*:)?\d+", self.gpus):
            raise ValueError(f"gpus: expected a number or type:number, got {self.gpus!r}")
        if not 1 <= self.warn <= 65535:
            raise ValueError(f"warn: expected 1 to 65535 seconds, got {self.warn}")
        if self.at_once is not None and self.at_once < 1:
            raise ValueError(f"at_once must be at least 1, got {self.at_once}")
        for option in (*self.sbatch_options, *self.light_options):
            if not option.startswith("-") or "\n" in option:
                raise ValueError(f"an option of sbatch begins with '-', got {option!r}")

    @property
    def command(self) -> str:
        """The command by which scripts call itin, quoted for the shell."""
        return self.itin or f"{shlex.quote(sys.executable)} -m itin"

    def overridden(self, given: dict[str, Any]) -> Site:
        """Return these defaults, overridden by the command line; None and () override nothing."""
        return replace(self, **{name: value for name, value in given.items() if value not in (None, ())})


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
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SiteError(f"cannot read the site's defaults {path}: {error}") from error
    names = [field.name for field in fields(Site)]
    if not isinstance(found, dict) or (unknown := sorted(set(map(str, found)) - set(names))):
        raise SiteError(
            f"{path} does not hold a site's defaults",
            expected=f"some of {', '.join(names)}",
            found=", ".join(unknown) if isinstance(found, dict) else type(found).__name__,
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
