"""A head's files from the hub, which are not trusted: no other files, none larger than expected, each by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from ...errors import WeightsError
from ...weights_file import cause_of, file_sha256

CARD, TOKENIZER = "README.md", "tokenizer.json"

LIMITS = {
    "config.json": 16 * 2**20,
    "model.safetensors": 8 * 2**30,
    "vocabulary.json": 2**30,
    TOKENIZER: 256 * 2**20,
    CARD: 2**20,
}
"""The files of a head, and the most bytes of each."""

NEEDED = ("config.json", "model.safetensors")

SECONDS = 8
"""Seconds without an answer after which the hub is given up."""


def folder_of(
    name: str | Path,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Path:
    """Return the folder of a head: the one that is named, or that of the hub's cache with the files fetched to it.

    Args:
        name: a folder, or a model's name on the hub such as `org/name`.
        revision: a branch, tag or commit; by default `main`.
        token: opens private models; by default the user's.
        cache_dir: the cache; by default the hub's own.
        force_download: whether to fetch what is there already.
        local_files_only: whether to ask the cache alone, as with `HF_HUB_OFFLINE=1`.

    Raises:
        WeightsError: it is neither, cannot be fetched, lacks a file, or has one that is too large or not the hub's.
    """
    if Path(name).is_dir():
        return Path(name)
    more: dict[str, Any] = {"token": token, "cache_dir": cache_dir}
    try:
        if local_files_only or constants.HF_HUB_OFFLINE:
            return Path(
                huggingface_hub.snapshot_download(
                    str(name), revision=revision, local_files_only=True, allow_patterns=[*LIMITS], **more
                )
            )
        info = huggingface_hub.HfApi(token=token).model_info(
            str(name), revision=revision, files_metadata=True, timeout=SECONDS
        )
        there = {one.rfilename: one for one in info.siblings or () if one.rfilename in LIMITS}
        _check(str(name), {file: int(entry.size or 0) for file, entry in there.items()})
        for file, entry in there.items():
            path = Path(
                huggingface_hub.hf_hub_download(
                    str(name), file, revision=revision, etag_timeout=SECONDS, force_download=force_download, **more
                )
            )
            if path.stat().st_size != entry.size or (entry.lfs and file_sha256(path) != entry.lfs.sha256):
                raise WeightsError(
                    f"{file} of {name}: not the file that the hub says it is",
                    expected=f"{entry.size} bytes" + (f", SHA-256 {entry.lfs.sha256}" if entry.lfs else ""),
                    found=f"{path.stat().st_size} bytes, SHA-256 {file_sha256(path)}",
                    next_step=f"remove {path.resolve()} and run the same command again",
                )
        return path.parent
    except WeightsError:
        raise
    except LocalEntryNotFoundError as error:
        raise WeightsError(
            f"{name} is neither a folder here nor in the hub's cache, and the hub may not be asked",
            expected=f"a folder with {' and '.join(NEEDED)}, or a model that was fetched before",
            next_step="check the spelling of its name, or run the same command without HF_HUB_OFFLINE",
        ) from error
    except Exception as error:  # the client's, of the libraries below it, and the disk's
        raise WeightsError(
            f"{name} is neither a folder here nor a model that can be fetched",
            expected=f"a folder with {' and '.join(NEEDED)}, or a model at {constants.ENDPOINT}/{name}",
            found=cause_of(error),
            next_step="check the spelling of its name; for a private model, set HF_TOKEN to a token that may read it",
        ) from error


def _check(name: str, sizes: dict[str, int]) -> None:
    wrong = [f"no {file}" for file in NEEDED if file not in sizes]
    wrong += [f"{file} of {size} bytes" for file, size in sizes.items() if size > LIMITS[file]]
    if wrong:
        raise WeightsError(
            f"{name} on the hub is not a head of itin",
            expected=", ".join(f"{file} of at most {LIMITS[file]} bytes" for file in NEEDED),
            found="; ".join(wrong),
            next_step="name a model that `push_to_hub` of a head wrote",
        )
