"""What Slurm's commands and jobs take from the environment.

For sbatch a command line beats the environment, and the environment beats the `#SBATCH` lines of a script. So Slurm's
commands run without their variables: those that users set as defaults are written into the scripts instead, ahead of
what is asked for, since of two lines that say the same the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_OF_SLURM = re.compile(r"(SBATCH|SALLOC|SRUN|SQUEUE|SCANCEL|SCONTROL|SINFO|SACCT|SLURMD?)_")

KEPT = re.compile(r"SLURM_(CONF|CONF_SERVER|CLUSTERS|WORKING_CLUSTER|JWT|SACK_\w+|UMASK)")
"""Variables that say where the cluster is and how to prove who asks, and the permissions of logs."""

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
"""Variable -> option of sbatch, where people set the one as a default for the other."""

_RIVALS = (
    ("gres", "gpus", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "tres-per-task"),
    ("mem", "mem-per-cpu", "mem-per-gpu"),
    ("cpus-per-gpu", "cpus-per-task"),
    ("hint", "threads-per-core", "ntasks-per-core", "extra-node-info"),
)
"""Options that say the same in different ways, or that sbatch refuses beside one another."""

_SHORT = {
    **{"A": "account", "p": "partition", "q": "qos", "t": "time", "C": "constraint", "G": "gpus"},
    **{"c": "cpus-per-task", "S": "core-spec", "B": "extra-node-info"},
}


def without_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which Slurm's commands do what their arguments say, and which jobs inherit.

    Inside a job it also lacks that job's own variables: Slurm overwrites only those that it sets for the new job.
    """
    return {name: value for name, value in environment.items() if KEPT.fullmatch(name) or not _OF_SLURM.match(name)}


def defaults(environment: Mapping[str, str], given: Iterable[str], *, gpus: bool = True) -> dict[str, str]:
    """Return the options of sbatch that are taken from the environment, by the name of their variable.

    Args:
        environment: where `SBATCH_ACCOUNT` and its like are looked for.
        given: options of sbatch that were asked for; what says the same in the environment is left out.
        gpus: whether the job may use GPUs; for one that does not, what speaks of them is left out.
    """
    overridden = {rival for option in given for rival in _rivals(option)}
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


def _rivals(given: str) -> Sequence[str]:
    """The options that a given one overrides; sbatch takes `--mem=1G`, `--mem 1G`, `-t5` and `--acc=lab`."""
    if given.startswith("--"):
        name = re.split(r"[=\s]", given[2:], maxsplit=1)[0]
    else:
        name = _SHORT.get(given[1:2], "")
    for rivals in _RIVALS:
        if name in rivals:
            return rivals
    return [option for option in DEFAULTS.values() if name and option.startswith(name)]


def describe(environment: Mapping[str, str], given: Sequence[str]) -> list[str]:
    """Return lines for people: which variables of sbatch are used, and which are not."""
    taken = defaults(environment, given)
    ignored = sorted(name for name in environment if name.startswith("SBATCH_") and name not in taken)
    lines = []
    if taken:
        lines.append("from the environment: " + ", ".join(f"{option} ({name})" for name, option in taken.items()))
    if ignored:
        lines.append(f"ignored in the environment, asked for otherwise or set by itin: {', '.join(ignored)}")
    return lines


def unset(environment: Mapping[str, str], prefix: str) -> str:
    """Return what is to be put before a command, so that a shell runs it without the variables of that prefix."""
    names = sorted(name for name in environment if name.startswith(prefix))
    return "".join(["env ", *(f"-u {name} " for name in names)]) if names else ""
