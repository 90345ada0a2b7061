"""Models from the Hugging Face hub, into its own cache: resumed, checked, with errors that say what to do.

The large files are downloaded here, by the client's own function, to a partial file that outlives the process: the
client itself starts a file anew after an interruption. A file enters the cache once its digest is the hub's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TypeVar

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

from ...errors import WeightsError
from ...weights_file import cause_of, file_sha256
from .download import PATIENCE, SECONDS, offline
from .waiting import within

T = TypeVar("T")

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files with a model's weights, or an index of them; the first that exists is used, as in transformers."""

CARD = "README.md"
"""The file whose header names a model's licence."""

SLOWEST = 50_000
"""Bytes a second at which a small file must arrive at least."""


def cached(name: str, file: str) -> Path | None:
    """Return a model's file in the hub's cache, or None."""
    try:
        found = huggingface_hub.try_to_load_from_cache(name, file)
    except ValueError:  # not a name that the hub could have
        return None
    return Path(found) if isinstance(found, str) else None


def page_of(name: str) -> str:
    """Return the address of a model's page."""
    return f"{constants.ENDPOINT}/{name}"


def fetch_model(name: str, wanted: Callable[[Collection[str]], list[str]] | None = None) -> None:
    """Download what is missing of a model into the hub's cache.

    Args:
        name: its name on the hub.
        wanted: chooses among the paths of its files; by default `files_of_model`.

    Raises:
        WeightsError: there is no such model, it may not be read, the hub does not answer within 30 seconds, the
            connection broke, or a file is not the one that the hub says it is.
    """
    if offline():
        raise _error(name, "offline mode is on (HF_HUB_OFFLINE)")
    api = huggingface_hub.HfApi()
    info = _asked(name, PATIENCE, lambda: api.model_info(name, files_metadata=True, timeout=SECONDS))
    entries = {entry.rfilename: entry for entry in info.siblings or ()}
    for file in (wanted or files_of_model)(entries):
        if file not in entries:
            raise _error(name, f"it has no file {file}")
        entry, size = entries[file], entries[file].size or 0
        if entry.lfs is not None:
            _fetch_blob(name, file, str(info.sha), entry.lfs.sha256, size)
            size = 0
        get = partial(huggingface_hub.hf_hub_download, name, file, etag_timeout=SECONDS)
        _asked(name, PATIENCE + size / SLOWEST, get)


def files_of_model(files: Collection[str]) -> list[str]:
    """Return the files that transformers reads: weights in one form, configuration, tokenizer; and the model's card."""
    form = next((form for form in WEIGHTS if form in files), None)
    indices = {index for index in WEIGHTS if index.endswith(".index.json")}
    kept = [form] if form is not None else []
    if form in indices:
        stem, suffix = form.removesuffix(".index.json").split(".")
        kept += [file for file in files if re.fullmatch(rf"{stem}-\d+-of-\d+\.{suffix}", file)]
    small = re.compile(r"[^/]+\.(json|model)|vocab\.txt|merges\.txt|bpe\.codes")
    return kept + [file for file in files if (small.fullmatch(file) and file not in indices) or file == CARD]


def _fetch_blob(name: str, file: str, commit: str, sha256: str, size: int) -> None:
    """Put a file into the cache under its digest, as the client does, unless it is there."""
    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    blob = folder / "blobs" / sha256
    unfinished = blob.with_name(f"{sha256}.incomplete")
    lock = folder.parent / ".locks" / folder.name / f"{sha256}.lock"
    try:
        for path in (blob, lock):
            path.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):
            if blob.exists():
                return
            url = huggingface_hub.hf_hub_url(name, file, revision=commit, endpoint=constants.ENDPOINT)
            while not _continue(url, unfinished, file, size):
                pass
            found = file_sha256(unfinished)
            if found == sha256:
                unfinished.replace(blob)
                return
            unfinished.unlink()
    except Exception as error:
        raise _error(name, error) from error
    raise WeightsError(
        f"{file} of {name}: not the file that the hub says it is",
        expected=f"SHA-256 {sha256}",
        found=f"SHA-256 {found}; it was removed",
        next_step=f"run the same command again; if it fails again, ask at {page_of(name)}",
    )


def _continue(url: str, unfinished: Path, file: str, size: int) -> bool:
    """Download the rest of a file; return whether it is whole. A connection may break as long as some of it arrives."""
    with unfinished.open("ab") as to:
        if to.tell() > size:
            to.truncate(0)
        start = to.tell()
        try:
            http_get(
                url,
                to,
                resume_size=start,
                headers=build_hf_headers(),
                expected_size=size,
                displayed_filename=file,
            )
        except Exception:  # of the client or of the libraries below it
            if to.tell() <= start:
                raise
            return False
    return True


def _asked(name: str, seconds: float, call: Callable[[], T]) -> T:
    """Return the hub's answer about a model, or raise WeightsError."""
    try:
        return within(seconds, call)
    except Exception as error:  # the client's, of the libraries below it, and the disk's
        raise _error(name, error) from error


def _error(name: str, cause: Exception | str) -> WeightsError:
    """Return the error for a model that cannot be downloaded."""
    page, status = page_of(name), getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(cause, HFValidationError):
        return WeightsError(
            f"{name} is neither a folder nor a model's name",
            expected="a folder with config.json, or a name such as org/name on the Hugging Face hub",
            next_step="check its spelling",
        )
    if isinstance(cause, GatedRepoError) or (status in (401, 403) and not isinstance(cause, RepositoryNotFoundError)):
        return WeightsError(
            f"{name} cannot be downloaded: it is gated or private, and you may not read it",
            expected=f"an account with access to {page}, and its token in HF_TOKEN",
            found="a token without access" if build_hf_headers().get("authorization") else "no token",
            next_step=f"ask for access at {page}, and set HF_TOKEN ({constants.ENDPOINT}/settings/tokens)",
        )
    if isinstance(cause, RepositoryNotFoundError) or status == 404:
        return WeightsError(
            f"{name} cannot be downloaded: the hub has no such model, or it is private",
            expected=f"a page at {page}",
            next_step="check the spelling of its name; for a private model, set HF_TOKEN to a token that may read it",
        )
    if isinstance(cause, HfHubHTTPError):
        reason = f"the hub answered with status {status}"
    elif isinstance(cause, str):
        reason = cause
    else:
        reason = f"the hub cannot be reached, or the connection broke ({cause_of(cause)})"
    return WeightsError(
        f"{name} is not here and cannot be downloaded: {reason}",
        expected=f"a model in the Hugging Face cache (HF_HOME), a network that reaches {constants.ENDPOINT}, or a "
        "folder that holds it",
        next_step="run the same command again where there is a network: a download continues where it ended; "
        "`itin weights` says where each model is searched for",
        machine=True,
    )
