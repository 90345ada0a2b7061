"""The three sbatch scripts of a submission, readable and fit to be submitted by hand."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import disk
from ..cache.format.sealed_json import write_error
from . import environment
from .site import Site
from .submission import Submission
from .work import Work

PARTS, RESUBMIT, CONSOLIDATE = "parts", "resubmit", "consolidate"

FORMER_ROLES = {"sweep": RESUBMIT}
"""Former role -> role: the names of scripts and logs in submissions written before."""

PASSED_ON = ("ITIN_CACHE", "ITIN_DATA", "ITIN_WEIGHTS", "ITIN_SITE", "XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME")
"""Environment variables that are written into the scripts: some sites export nothing to jobs."""

_RUN = """\
echo "itin: {what} begins on ${{SLURMD_NODENAME:-$(hostname)}}, job $job"
# bash runs a trap only between commands, so Python runs in the background; signals are passed on to it.
signalled=0 code=1
{command} &
python=$!
trap 'signalled=1; kill -USR1 $python 2>/dev/null' USR1
trap 'signalled=1; kill -TERM $python 2>/dev/null' TERM
while :; do
    signalled=0
    wait "$python"; now=$?
    [ $now = 127 ] || code=$now # 127: it was waited for already
    [ $signalled = 1 ] || break # a signal ended the wait, not Python
done
echo "itin: {what} ended with exit code $code"
{then}exit $code
"""

_AGAIN = """\
if [ $code -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 3 ]; then
    scontrol requeue "$SLURM_JOB_ID" # Python was killed: nobody else would continue the chain
fi
"""


def write_scripts(submission: Submission, site: Site, work: Work) -> dict[str, Path]:
    """Write `parts.sbatch`, `resubmit.sbatch` and `consolidate.sbatch` into the submission's folder."""
    count = submission.parts
    parts = _script(
        submission,
        site,
        PARTS,
        [
            f"One task does one part of: itin {submission.work} {shlex.join(submission.words)}",
            f"By hand: sbatch --array=0-{count - 1} parts.sbatch",
            "(unset the variables SBATCH_* first: for sbatch they override the lines below;",
            "an argument is added to the task number, because clusters limit the size of an array)",
        ],
        [
            "part=$((${1:-0} + SLURM_ARRAY_TASK_ID))",
            "job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID",
        ],
        f'{shlex.join(work.part(submission))} "$part/{count}"',
        f"part $part/{count}",
    )
    folder = shlex.quote(str(submission.folder))
    resubmission = _script(
        submission,
        site,
        RESUBMIT,
        [
            "Runs after the array, however that ended: submits again the parts that are incomplete.",
            "Arguments: retries left without progress, and how many pieces were missing before.",
        ],
        ["job=$SLURM_JOB_ID"],
        f'cluster resubmit {folder} --left "${{1:-{submission.retries}}}" --before "${{2:--1}}"',
        "the resubmission",
    )
    consolidation = _script(
        submission,
        site,
        CONSOLIDATE,
        ["Runs when nothing is missing: verifies the results and writes what is written once."],
        ["job=$SLURM_JOB_ID"],
        shlex.join(work.consolidate(submission)),
        "the consolidation",
    )
    paths = {}
    for role, text in ((PARTS, parts), (RESUBMIT, resubmission), (CONSOLIDATE, consolidation)):
        paths[role] = submission.folder / f"{role}.sbatch"
        disk.replace(paths[role], text.encode(), write_error)
    return paths


def options_of_site(site: Site, role: str) -> list[str]:
    """Return the options of sbatch from the site's defaults or the command line."""
    options = []
    if site.partition:
        options.append(f"--partition={site.partition}")
    if site.gpus and role == PARTS:
        options.append(f"--gres=gpu:{site.gpus}")
    if site.time:
        options.append(f"--time={site.time}")
    return [*options, *site.sbatch_options, *(site.light_options if role != PARTS else ())]


def directives(submission: Submission, site: Site, role: str) -> list[str]:
    """Return the options of sbatch in a script; if two set the same thing, the last one counts."""
    log = submission.logs / ("part-%A_%a.log" if role == PARTS else f"{role}-%j.log")
    asked = options_of_site(site, role)
    return [
        *environment.defaults(os.environ, asked, gpus=role == PARTS).values(),
        "--requeue",
        *([f"--signal=B:USR1@{site.warn}"] if role == PARTS else []),
        *asked,
        f"--job-name={submission.name}",  # last: jobs and logs are found by these options
        f"--output={_escaped(log.parent)}/{log.name}",
        "--open-mode=append",
        f"--chdir={submission.directory}",
    ]


def _escaped(folder: Path) -> str:
    return str(folder).replace("%", "%%")


def _script(
    submission: Submission,
    site: Site,
    role: str,
    about: Sequence[str],
    before: Sequence[str],
    arguments: str,
    what: str,
) -> str:
    lines = ["#!/bin/bash", *(f"# {line}" for line in about)]
    lines += [f"#SBATCH {_directive(option)}" for option in directives(submission, site, role)]
    lines += ["", *site.prologue, *exports(os.environ), *before, ""]
    command = f"{site.command} {arguments}"
    return "\n".join(lines) + "\n" + _RUN.format(command=command, what=what, then="" if role == PARTS else _AGAIN)


def _directive(option: str) -> str:
    """Return an option as sbatch reads it from a script: quoted if it contains a space."""
    return f'"{option}"' if any(character.isspace() for character in option) else option


def exports(environment: Mapping[str, str]) -> list[str]:
    """Return shell lines that set the variables that itin reads from the environment."""
    found = [f"export {name}={shlex.quote(environment[name])}" for name in PASSED_ON if environment.get(name)]
    return [*found, "export PYTHONUNBUFFERED=1"]
