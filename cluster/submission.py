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
    """What `submission.json` says; the folder also holds the scripts and `logs/`."""

    folder: Path
    id: str
    """Also the last part of the jobs' name, `itin-<id>`."""
    engine: str
    """`slurm` or `dask`."""
    work: str
    """`extract` or `sweep`."""
    words: tuple[str, ...]
    """The command's arguments: of a sweep with paths that mean the same from everywhere, else as they were typed."""
    parts: int
    retries: int
    """How often in a row parts are submitted again although nothing new came of it; 0: never again."""
    at_once: int | None
    """How many tasks may run at the same time; None: as many as the scheduler gives."""
    stores: tuple[str, ...]
    """Names of the stores that an extraction fills."""
    limit: int | None
    """Of an extraction: so many samples are wanted."""
    created: float
    """Seconds since 1970."""
    directory: str
    """Where it was submitted from; jobs run there."""
    config: dict[str, Any] = field(default_factory=dict)
    """Of an extraction: `ExtractConfig.to_record`, which parts read; submissions of before have their words alone."""

    @property
    def name(self) -> str:
        """The name of all its jobs."""
        return f"itin-{self.id}"

    @property
    def home(self) -> Path:
        """What it fills: a data set's folder in the cache, or a sweep's."""
        return self.folder.parent.parent

    @property
    def record(self) -> Path:
        """The file with all of this."""
        return self.folder / RECORD

    @property
    def logs(self) -> Path:
        """One file a task and attempt."""
        return self.folder / "logs"


def new_id() -> str:
    """Sorts by time; two submissions in one second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def write(submission: Submission) -> None:
    """Makes the submission's folder with its record."""
    disk.make_folder(submission.logs, write_error)
    record = {key: value for key, value in asdict(submission).items() if key != "folder"}
    disk.replace(submission.folder / RECORD, disk.to_json(record), write_error)


def read(folder: Path) -> Submission:
    """Reads the record of a submission.

    Raises:
        ClusterError: the folder is none of a submission.
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
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ClusterError(f"cannot read {folder / RECORD}: {error}") from error


def find(cache: Path) -> list[Path]:
    """The folders of all submissions in a cache, the newest last."""
    return sorted((path.parent for path in cache.glob(f"*/{FOLDER}/*/{RECORD}")), key=lambda folder: folder.name)
