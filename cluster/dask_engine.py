"""The same parts on a dask.distributed cluster: any number of workers, encoders loaded once in each of them.

Tasks are left to the scheduler (`fire_and_forget`), so that they go on when the submitting process is gone. A worker
that dies is replaced by whatever keeps the cluster up; its part begins again and passes over what is committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TransientError
from ..extract.config import ExtractConfig
from ..parts import Part
from .extract_work import Extraction
from .slurm_chain import describe
from .submission import ClusterError, Submission
from .work import Missing

if TYPE_CHECKING:
    from distributed import Client, Future

_ONE_AT_A_TIME = threading.Lock()
_LOADED: dict[tuple[object, ...], list[Any]] = {}

POLL_SECONDS = 1.0
SENT_SECONDS = 0.5
"""What a client is told to send leaves it within milliseconds, in the background."""


@dataclass(frozen=True)
class Tls:
    """The three files of a connection that both sides prove themselves on."""

    ca: Path
    cert: Path
    key: Path


def connect(scheduler: str, tls: Tls | None = None, timeout: float = 60) -> Client:
    """A client of a running scheduler.

    Args:
        scheduler: `tcp://host:port` or `tls://host:port`.
        tls: required by `tls://`.
        timeout: seconds.

    Raises:
        ClusterError: distributed is not installed, or the scheduler cannot be reached.
        ValueError: a `tls://` address without files, or files with another address.
    """
    if scheduler.startswith("tls://") != (tls is not None):
        raise ValueError("a tls:// scheduler takes --tls-ca, --tls-cert and --tls-key, and only such a one does")
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError as error:
        raise ClusterError(
            "the Dask engine needs dask.distributed", next_step="run `pip install 'itin[dask]'`"
        ) from error
    security = None
    if tls is not None:
        security = Security(
            tls_ca_file=str(tls.ca),
            tls_client_cert=str(tls.cert),
            tls_client_key=str(tls.key),
            require_encryption=True,
        )
    try:
        return Client(scheduler, security=security, timeout=timeout, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the Dask scheduler at {scheduler} cannot be reached: {error}",
            next_step="see that it runs, and that this machine may connect to it",
        ) from error


def run_part(config: ExtractConfig) -> tuple[int, int]:
    """One part, in a worker: one at a time in a process, whatever the number of its threads.

    Returns:
        (features made, features that were there).

    Raises:
        TransientError: something could not be read this time; Dask tries the part again.
    """
    from ..extract.run import extract

    with _ONE_AT_A_TIME:
        summary = extract(config, load=_load)
    if summary.unread:
        raise TransientError(f"{summary.unread} files of part {config.part} could not be read this time")
    return sum(store.made for store in summary.stores), sum(store.reused for store in summary.stores)


def consolidate(config: ExtractConfig, parts: list[Any]) -> None:
    """The manifests, in a worker, once all parts are through."""
    from ..extract.run import extract

    with _ONE_AT_A_TIME:
        extract(replace(config, part=None, consolidate=True, device="cpu"))


def _load(config: ExtractConfig, folder: Path, samples: list[Any]) -> list[Any]:
    """The encoders of this process: those of the last part that asked for the same."""
    from ..extract.run import load_encoders

    key = (config.encoders, config.only, config.batch_size, config.device, folder)
    if key not in _LOADED:
        _LOADED.clear()  # another submission's: memory is short
        _LOADED[key] = load_encoders(config, folder, samples)
    return _LOADED[key]


class DaskRun:
    """The parts of one submission on a cluster.

    Args:
        submission: what to do.
        client: of the cluster that does it.
    """

    def __init__(self, submission: Submission, client: Client) -> None:
        self.submission = submission
        self.client = client
        self._work = Extraction()
        self._config = ExtractConfig.from_record(submission.config)
        self._rounds = 0

    def missing(self) -> Missing:
        """What is not committed yet."""
        return self._work.missing(self.submission)

    def submit(self, parts: list[int]) -> Future:
        """Leaves parts and a consolidation after them to the scheduler; returns the consolidation."""
        from distributed import fire_and_forget

        self._rounds += 1
        name = f"{self.submission.name}-{self._rounds}"
        more = {"retries": self.submission.retries, "pure": False}
        futures = [
            self.client.submit(
                run_part,
                replace(self._config, part=Part(index, self.submission.parts)),
                key=f"{name}-part-{index}",
                **more,
            )
            for index in parts
        ]
        last = self.client.submit(consolidate, self._config, futures, key=f"{name}-consolidate", **more)
        for future in [*futures, last]:
            fire_and_forget(future)
        time.sleep(SENT_SECONDS)
        return last

    def wait(self, last: Future, tell: Callable[[Missing], None], every: float = 30.0) -> None:
        """Waits for the end; parts that were given up are submitted again, as on Slurm.

        Raises:
            ClusterError: something is missing still and no retry is left.
        """
        before, left = self.missing().pieces, self.submission.retries
        spoke = time.monotonic()
        while True:
            while not last.done():
                time.sleep(POLL_SECONDS)
                if time.monotonic() - spoke >= every:
                    spoke = time.monotonic()
                    tell(self.missing())
            if last.status == "finished":
                return
            missing = self.missing()
            left = left - 1 if missing.pieces == before else self.submission.retries
            if left < 0 or not self.submission.retries:
                raise ClusterError(
                    f"{describe(missing)}, and {self.submission.retries} retries in a row brought nothing new",
                    found=f"{last.status}: {last.exception()}",
                    next_step="see to the workers' logs, then submit the same again",
                )
            before = missing.pieces
            last = self.submit(sorted(missing.parts))
