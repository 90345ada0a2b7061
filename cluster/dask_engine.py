"""The same parts on a dask.distributed cluster: any number of workers, each of which loads the encoders once.

Tasks are left to the scheduler (`fire_and_forget`), so that they continue when the submitting process has ended. A
worker that dies is replaced by whatever runs the cluster; its part starts again and skips what is committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TransientError
from ..extract.config import ExtractConfig
from ..lazy import optional
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
"""The time to let a client send tasks, which it does in the background within milliseconds."""


@dataclass(frozen=True)
class Tls:
    """The three files of a mutually authenticated connection."""

    ca: Path
    cert: Path
    key: Path


def connect(scheduler: str, tls: Tls | None = None, timeout: float = 60) -> Client:
    """Return a client of a running scheduler.

    Args:
        scheduler: `tcp://host:port` or `tls://host:port`.
        tls: the files of the connection, required by `tls://`.
        timeout: seconds to wait for the scheduler.

    Raises:
        ClusterError: distributed is not installed, or the scheduler cannot be reached.
        ValueError: a `tls://` address without files, or files with another address.
    """
    if scheduler.startswith("tls://") != (tls is not None):
        raise ValueError("a tls:// scheduler takes --tls-ca, --tls-cert and --tls-key, and no other scheduler does")
    distributed = optional("distributed", "the Dask engine needs dask.distributed", "itin[dask]", ClusterError)
    security = None
    if tls is not None:
        security = distributed.Security(
            tls_ca_file=str(tls.ca),
            tls_client_cert=str(tls.cert),
            tls_client_key=str(tls.key),
            require_encryption=True,
        )
    try:
        client: Client = distributed.Client(scheduler, security=security, timeout=timeout, set_as_default=False)
        return client
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"the Dask scheduler at {scheduler} cannot be reached: {error}",
            next_step="check that it runs and that this machine may connect to it",
            machine=True,
        ) from error


def run_part(config: ExtractConfig, allow: Collection[str] = ()) -> tuple[int, int]:
    """Run one part in a worker, one at a time per process, whatever the number of its threads.

    Args:
        config: the part.
        allow: the encoders of a user's own whose code may be imported, see `load_encoders`.

    Returns:
        (features made, features that existed before).

    Raises:
        TransientError: a file could not be read this time; Dask runs the part again.
    """
    from ..extract.run import extract

    with _ONE_AT_A_TIME:
        summary = extract(config, load=partial(_load, allow=allow))
    if summary.unread:
        raise TransientError(f"{summary.unread} files of part {config.part} could not be read this time")
    return sum(store.made for store in summary.stores), sum(store.reused for store in summary.stores)


def consolidate(config: ExtractConfig, parts: list[Any], allow: Collection[str] = ()) -> None:
    """Write the manifests in a worker, once all parts have ended."""
    from ..extract.run import extract, load_encoders

    with _ONE_AT_A_TIME:
        extract(replace(config, part=None, consolidate=True, device="cpu"), load=partial(load_encoders, allow=allow))


def _load(config: ExtractConfig, folder: Path, samples: list[Any], allow: Collection[str]) -> list[Any]:
    """Return the encoders of this process, reused while parts need the same ones."""
    from ..extract.run import load_encoders

    key = (config.encoders, config.only, config.batch_size, config.device, folder)
    if key not in _LOADED:
        _LOADED.clear()  # those of another submission: memory is limited
        _LOADED[key] = load_encoders(config, folder, samples, allow)
    return _LOADED[key]


class DaskRun:
    """The parts of one submission on a cluster.

    Args:
        submission: the work to do.
        client: a client of the cluster.
        allow: the encoders of a user's own whose code may be imported, see `load_encoders`.
    """

    def __init__(self, submission: Submission, client: Client, allow: Collection[str] = ()) -> None:
        self._allow = tuple(allow)
        self.submission = submission
        self.client = client
        self._work = Extraction()
        self._config = ExtractConfig.from_record(submission.config)
        self._rounds = 0

    def missing(self) -> Missing:
        """Return what is not committed yet."""
        return self._work.missing(self.submission)

    def submit(self, parts: list[int]) -> Future:
        """Submit parts and a consolidation after them to the scheduler; return the consolidation."""
        from distributed import fire_and_forget

        self._rounds += 1
        name = f"{self.submission.name}-{self._rounds}"
        options = {"retries": self.submission.retries, "pure": False}
        futures = [
            self.client.submit(
                run_part,
                replace(self._config, part=Part(index, self.submission.parts)),
                self._allow,
                key=f"{name}-part-{index}",
                **options,
            )
            for index in parts
        ]
        last = self.client.submit(consolidate, self._config, futures, self._allow, key=f"{name}-consolidate", **options)
        for future in [*futures, last]:
            fire_and_forget(future)
        time.sleep(SENT_SECONDS)
        return last

    def wait(self, last: Future, report: Callable[[Missing], None], every: float = 30.0) -> None:
        """Wait for the end; failed parts are submitted again, as on Slurm.

        Raises:
            ClusterError: pieces are still missing and no retry is left.
        """
        before, left = self.missing().pieces, self.submission.retries
        reported = time.monotonic()
        while True:
            while not last.done():
                time.sleep(POLL_SECONDS)
                if time.monotonic() - reported >= every:
                    reported = time.monotonic()
                    report(self.missing())
            if last.status == "finished":
                return
            missing = self.missing()
            left = left - 1 if missing.pieces == before else self.submission.retries
            if left < 0 or not self.submission.retries:
                raise ClusterError(
                    f"{describe(missing)}, and {self.submission.retries} retries in a row brought nothing new",
                    found=f"{last.status}: {last.exception()}",
                    next_step="check the workers' logs, then run the same submit command again",
                )
            before = missing.pieces
            last = self.submit(sorted(missing.parts))
