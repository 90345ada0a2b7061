"""The names of object and attribute ids, from files with one name a line and synonyms after commas."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import WeightsError
from ...tabular.lines import lines_of
from ..weights.names import ATTRIBUTES_FILE, OBJECTS_FILE, names_beside
from ..weights.origin import check_digest


@dataclass(frozen=True)
class Vocabulary:
    """Names by id; without names the ids are shown."""

    objects: tuple[str, ...] | None = None
    attributes: tuple[str, ...] | None = None

    def object(self, number: int) -> str:
        """Return the name of an object class."""
        return _show(self.objects, number, "object")

    def attribute(self, number: int) -> str:
        """Return the name of an attribute."""
        return _show(self.attributes, number, "attribute")


def _show(names: tuple[str, ...] | None, number: int, kind: str) -> str:
    if number < 0:
        return "unknown"
    return names[number] if names is not None and number < len(names) else f"{kind} {number}"


def read_names(path: Path, count: int) -> tuple[str, ...]:
    """Return the first synonym of each line.

    Args:
        path: the file.
        count: number of names that there must be.

    Raises:
        WeightsError: the file is missing, is not text, or holds another number of names.
    """
    try:
        lines = list(lines_of(path.read_bytes()))
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path}: the vocabulary cannot be read",
            expected=f"{count} names, one a line",
            found=f"{type(error).__name__}: {error}",
            next_step="name another file, or leave the option out: ids are shown then",
        ) from error
    names = tuple(line.split(",")[0].strip() for line in lines)
    if len(names) != count or not all(names):
        empty = [number for number, name in enumerate(names, 1) if not name]
        raise WeightsError(
            f"{path}: the vocabulary does not fit the detector",
            expected=f"{count} names, one a line",
            found=f"{len(names)} lines" + (f", of which line {empty[0]} is empty" if empty else ""),
            next_step="take the file that came with the detector's weights",
        )
    return names


def find_vocabulary(
    weights: Path | None,
    *,
    objects: str | Path | None = None,
    attributes: str | Path | None = None,
    object_count: int = 1600,
    attribute_count: int = 400,
) -> Vocabulary:
    """Return the names in the user's files where given, else those beside the checkpoint (in the weights folder for the
    hub's), else none.

    Args:
        weights: the checkpoint, or None for random weights.
        objects: the user's file of object names.
        attributes: the user's file of attribute names.
        object_count: object classes of the detector.
        attribute_count: attributes of the detector.
    """

    def names(given: str | Path | None, file: str, count: int) -> tuple[str, ...] | None:
        if given is not None:
            return read_names(Path(given).expanduser(), count)
        beside = None if weights is None else names_beside(weights, file)
        if beside is None:
            return None
        check_digest(beside)
        return read_names(beside, count)

    return Vocabulary(names(objects, OBJECTS_FILE, object_count), names(attributes, ATTRIBUTES_FILE, attribute_count))
