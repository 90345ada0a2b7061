"""Whether work can be sent to a cluster: Slurm's commands and controller, a Dask scheduler."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from ..cluster.environment import without_slurm
from ..errors import ItinError, first_line
from .finding import Asked, Finding, bad, doubtful, good

SECONDS = 6
"""The time within which a controller or scheduler must answer."""

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")
"""Slurm's commands that `itin cluster` runs."""


def slurm(asked: Asked) -> Iterator[Finding]:
    """Check that Slurm's commands are here and that its controller answers."""
    here = [name for name in COMMANDS if shutil.which(name)]
    if not here:
        yield good("not here (only `itin cluster` needs it)", "run `itin cluster` on a login node of the cluster")
        return
    if lacking := [name for name in COMMANDS if name not in here]:
        yield bad(f"{here[0]} is here, but not {', '.join(lacking)}", "install Slurm's client commands, or set PATH")
        return
    ask = "check SLURM_CONF, and that the controller runs; or ask the administrators"
    try:
        done = subprocess.run(
            ["scontrol", "show", "partition", "--oneliner"],
            env=without_slurm(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        yield doubtful(f"the controller does not answer within {SECONDS} s", ask)
        return
    lines = [line for line in done.stdout.splitlines() if line.startswith("PartitionName=")]
    if done.returncode:
        said = first_line(OSError(done.stderr.strip() or f"exit code {done.returncode}"))
        yield doubtful(f"the commands are here, but the controller cannot be asked: {said}", ask)
    elif up := [line.split()[0].partition("=")[2] for line in lines if " State=UP" in line]:
        yield good(f"the controller answers; partitions {', '.join(up)}")
    else:
        yield doubtful("the controller answers, but no partition is up", "ask the administrators, or wait")


def dask(asked: Asked) -> Iterator[Finding]:
    """Check that the Dask scheduler can be reached, where one is named, and that it has workers."""
    address = asked.scheduler
    if address is None:
        yield good("no scheduler named", "`itin doctor --scheduler tcp://HOST:PORT` tries one")
        return
    if find_spec("distributed") is None:
        yield bad("a scheduler is named, and dask.distributed is not installed", "pip install 'itin[dask]'")
        return
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or not parts.port:
        yield bad(f"{address} is no address of a scheduler", "give tcp://HOST:PORT or tls://HOST:PORT")
        return
    runs = "check that it runs, and that this machine may connect to it"
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=SECONDS).close()
    except OSError as error:
        yield bad(f"the scheduler at {address} cannot be reached: {error.strerror or error}", runs)
        return
    if parts.scheme == "tls":
        yield good(f"the scheduler at {address} accepts connections; its certificates are not tried here")
        return
    from ..cluster.dask_engine import connect

    try:
        with connect(address, timeout=SECONDS) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
    except ItinError as error:
        yield bad(first_line(error), runs)
        return
    if workers:
        yield good(f"the scheduler at {address} answers; {workers} workers")
    else:
        yield doubtful(f"the scheduler at {address} answers, but has no workers", f"start some: dask worker {address}")
