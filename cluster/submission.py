"""One submission: which command in how many parts, which stores it fills, and where its scripts and logs are."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import disk
from ..cache.format.sealed_json import write_error
from ..errors import ItinError

FOLDER = "cluster"
RECORD = "submission.json"


class ClusterError(ItinError):
    """A submission is missing, or a scheduler refused something."""


@dataclass(frozen=True)
class Submission:
    """The contents of `submission.json`; the folder also holds the scripts and `logs/`."""

    folder: Path
    id: str
    """The id, also the last part of the jobs' name, `itin-<id>`."""
    engine: str
    """The scheduler, `slurm` or `dask`."""
    work: str
    """The command, `extract` or `sweep`."""
    words: tuple[str, ...]
    """The command's arguments: for a sweep with absolute paths, otherwise as typed."""
    parts: int
    retries: int
    """The number of times in a row that parts are resubmitted without progress; 0: never."""
    at_once: int | None
    """The maximum number of tasks running at the same time; None: no limit."""
    stores: tuple[str, ...]
    """The names of the stores that an extraction fills."""
    limit: int | None
    """For an extraction: the maximum number of samples."""
    created: float
    """The time of creation in seconds since 1970."""
    directory: str
    """The working directory of the submission and its jobs."""
    config: dict[str, Any] = field(default_factory=dict)
    """For an extraction: `ExtractConfig.to_record`, read by parts; empty in submissions written before."""

    @property
    def name(self) -> str:
        """The name of all its jobs."""
        return f"itin-{self.id}"

    @property
    def home(self) -> Path:
        """The folder it fills: a data set's folder in the cache, or a sweep's."""
        return self.folder.parent.parent

    @property
    def record(self) -> Path:
        """The file that holds this record."""
        return self.folder / RECORD

    @property
    def logs(self) -> Path:
        """The folder of logs, one file per task."""
        return self.folder / "logs"


def new_id() -> str:
    """Return an id that sorts by time; two submissions in the same second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def write(submission: Submission) -> None:
    """Create the submission's folder and write its record."""
    disk.make_folder(submission.logs, write_error)
    record = {key: value for key, value in asdict(submission).items() if key != "folder"}
    disk.replace(submission.folder / RECORD, disk.to_json(record), write_error)


def read(folder: Path) -> Submission:
    """Read the record of a submission.

    Raises:
        ClusterError: the folder is not that of a submission.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
        record |= {name: tuple(record[name]) for name in ("words", "stores")}
        return Submission(folder=folder.absolute(), **record)
    except FileNotFoundError:
        raise ClusterError(
            f"{folder} is not the folder of a submission",
            expected=f"{RECORD} in it",
            next_step="give the folder that `itin cluster submit` printed",
        ) from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ClusterError(f"cannot read {folder / RECORD}: {error}") from error


def find(cache: Path) -> list[Path]:
    """Return the folders of all submissions in a cache, newest last."""
    return sorted((path.parent for path in cache.glob(f"*/{FOLDER}/*/{RECORD}")), key=lambda folder: folder.name)
