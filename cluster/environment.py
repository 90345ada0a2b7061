"""The variables that Slurm's commands and jobs take from the environment.

For sbatch the command line overrides the environment, and the environment overrides the `#SBATCH` lines of a script. So
Slurm's commands run without their variables: those that users set as defaults are written into the scripts instead,
ahead of the requested options, since the last of two conflicting lines counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_OF_SLURM = re.compile(r"(SBATCH|SALLOC|SRUN|SQUEUE|SCANCEL|SCONTROL|SINFO|SACCT|SLURMD?)_")

KEPT_VARIABLES = re.compile(r"SLURM_(CONF|CONF_SERVER|CLUSTERS|WORKING_CLUSTER|JWT|SACK_\w+|UMASK)")
"""The variables that name the cluster and the credentials for it, and set the permissions of logs."""

_SAME_NAME = (
    *("account", "partition", "qos", "reservation", "wckey", "constraint", "exclusive", "network", "profile"),
    *("gres", "gres-flags", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gpu-bind", "gpu-freq"),
    *("tres-per-task", "cpus-per-gpu", "mem-per-cpu", "mem-per-gpu", "hint", "threads-per-core", "core-spec"),
    *("thread-spec", "acctg-freq", "delay-boot"),
)
DEFAULTS: Mapping[str, str] = {
    **{f"SBATCH_{option.upper().replace('-', '_')}": option for option in _SAME_NAME},
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_CPU_FREQ_REQ": "cpu-freq",
}
"""Variable -> option of sbatch for which users set it as the default."""

_EXCLUSIVE = (
    ("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "tres-per-task"),
    ("mem", "mem-per-cpu", "mem-per-gpu"),
    ("cpus-per-gpu", "cpus-per-task"),
    ("hint", "threads-per-core", "ntasks-per-core", "extra-node-info"),
)
"""Groups of options that set the same thing, or that sbatch refuses together."""

_SHORT = {
    **{"A": "account", "p": "partition", "q": "qos", "t": "time", "C": "constraint", "G": "gpus"},
    **{"c": "cpus-per-task", "S": "core-spec", "B": "extra-node-info"},
}


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Slurm's commands, which jobs inherit, without the variables that override arguments.

    Inside a job it also lacks the job's own variables: Slurm overwrites only those that it sets for the new job.
    """
    return {
        name: value
        for name, value in environment.items()
        if KEPT_VARIABLES.fullmatch(name) or not _OF_SLURM.match(name)
    }


def defaults(environment: Mapping[str, str], given: Iterable[str], *, gpus: bool = True) -> dict[str, str]:
    """Return the options of sbatch that are taken from the environment, by variable.

    Args:
        environment: the variables, such as `SBATCH_ACCOUNT`.
        given: the requested options of sbatch; variables that set the same thing are left out.
        gpus: whether the job may use GPUs; if not, options about GPUs are left out.
    """
    overridden = {other for option in given for other in overridden_by(option)}
    found = {}
    for name, option in DEFAULTS.items():
        value = environment.get(name)
        if value is None or "\n" in value or option in overridden:
            continue
        if not gpus and ("gpu" in option or option in ("gres", "gres-flags", "tres-per-task")):
            continue
        if value or option == "exclusive":
            found[name] = f"--{option}={value}" if value else f"--{option}"
    return found


def overridden_by(given: str) -> Sequence[str]:
    """Return the options that a given one overrides; sbatch takes `--mem=1G`, `--mem 1G`, `-t5` and `--acc=lab`."""
    if given.startswith("--"):
        name = re.split(r"[=\s]", given[2:], maxsplit=1)[0]
    else:
        name = _SHORT.get(given[1:2], "")
    for group in _EXCLUSIVE:
        if name in group:
            return group
    return [option for option in (*DEFAULTS.values(), "signal") if name and option.startswith(name)]


def describe(environment: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """Return lines of text that say which variables of sbatch are used and which are ignored."""
    taken = defaults(environment, given)
    ignored = sorted(name for name in environment if name.startswith("SBATCH_") and name not in taken)
    lines = []
    if taken:
        lines.append("from the environment: " + ", ".join(f"{option} ({name})" for name, option in taken.items()))
    if ignored:
        lines.append(f"ignored in the environment, overridden by options or set by itin: {', '.join(ignored)}")
    return lines


def unset(environment: Mapping[str, str], prefix: str) -> str:
    """Return the words before a shell command that make it run without the variables of that prefix."""
    names = sorted(name for name in environment if name.startswith(prefix))
    return "".join(["env ", *(f"-u {name} " for name in names)]) if names else ""
