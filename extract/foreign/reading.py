"""The samples of a source, one after the other, whatever form it has: used, or rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import ItinError, first_line
from ..data.reading import BadFile
from ..data.samples import Rejected
from .forms.files import files_of
from .forms.registry import Form, Lister
from .isolated import Answer, isolated
from .record import Asked, Record
from .shapes import record_of


def records(source: Path, form: Form, asked: Asked) -> Iterator[Record | Rejected]:
    """Yield the samples of a source in the order of its files.

    Args:
        source: a file, or a folder with files.
        form: how they are written.
        asked: what is wanted of them.

    Raises:
        DataError: it holds no such files, or the package that reads them is not installed.
        TransientError: one of them could not be read, though it may be intact.
    """
    if form.alone and (source / "data.mdb").is_file():
        files = [source]
    else:
        files = files_of(source, form.endings)
    lister = form.lists()  # in this process too where a child reads: a package that is missing is no fault of a file
    for name, file, answer in isolated(files, form, asked) if form.isolated else _here(files, lister, asked):
        try:
            if isinstance(answer, str):
                raise BadFile(answer)
            yield record_of(answer, asked)
        except BadFile as error:
            yield Rejected(name, f"{file} {error.reason}".lstrip())


def _here(files: Iterable[Path], lister: Lister, asked: Asked) -> Iterator[Answer]:
    """Read the samples of files in this process."""
    for path in files:
        try:
            for name, read, file in lister(path, asked):
                try:
                    raw = read()
                except ItinError:
                    raise
                except Exception as error:  # damaged files make the libraries that read them raise almost anything
                    yield name, file, reason_of(error)
                else:
                    yield name, file, raw
        except ItinError:
            raise
        except Exception as error:
            yield path.name, "", reason_of(error)


def reason_of(error: Exception) -> str:
    """Return why a file or a sample cannot be used, in one line."""
    return error.reason if isinstance(error, BadFile) else f"cannot be read: {first_line(error)}"
