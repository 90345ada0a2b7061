"""All weights of a command in one folder with a record of their digests, for machines without a network."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from ... import disk
from ...errors import WeightsError
from ...weights_file import file_sha256
from .origin import RECORD, check_digest, origin_of, read_record
from .requirement import WeightsRequirement


def pack(needed: Mapping[str, WeightsRequirement], folder: Path) -> dict[str, dict[str, str | None]]:
    """Copy the files of some encoders' weights into a folder, each checked, and write the record of their digests.

    A folder that was packed before keeps what it holds: several calls pack for several commands.

    Args:
        needed: kind of feature -> the weights of its encoder, which are here.
        folder: the folder; made if need be.

    Returns:
        The record: path in the folder -> its `sha256`, and `repo`, `commit`, `licence` where they are known.

    Raises:
        WeightsError: an encoder's weights have no place in the folder, a file is not the one that its origin names, or
            the folder cannot be written.
    """
    record = read_record(folder)
    disk.make_folder(folder, _fault)
    for row in needed.values():
        if not row.files:
            raise WeightsError(
                f"{row.encoder}: its weights cannot be packed",
                expected="an encoder whose weights come by name, or have a place in the weights folder",
                found=str(row.found or row.looked_in),
                next_step="copy its files to the other machine, and name the same path there",
            )
        for place, path in row.files.items():
            check_digest(path)
            origin, target = origin_of(path), folder / place
            sha256 = file_sha256(path)
            if not target.exists() or file_sha256(target) != sha256:
                disk.make_folder(target.parent, _fault)
                with disk.replacing(target, _fault) as temporary:
                    shutil.copyfile(path, temporary)
            record[place] = {
                "sha256": sha256,
                "repo": origin.repo,
                "commit": origin.commit,
                "licence": origin.licence or row.licence,
            }
    disk.replace(folder / RECORD, disk.to_json({"files": record}), _fault)
    return record


def _fault(path: Path, error: OSError) -> WeightsError:
    return WeightsError(f"cannot write {path}: {error.strerror or error}", next_step="choose another folder")
