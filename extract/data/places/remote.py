"""Files behind a protocol that fsspec opens: `https://`, `s3://`, `gs://`, `hf://`, `memory://`.

Their places are relative paths as pathlib spells URLs, with one slash (`https:/host/data/1.jpg`), so that
they go through the same fields as those of local files. Credentials are never part of them: they belong to the
protocol's own settings.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from ....errors import DataError
from .web import WEB, web_fetch, web_state

T = TypeVar("T")

IN_CELLS = frozenset({*WEB, "s3", "gs", "hf"})
"""Protocols that a cell of a table may name, with --allow-outside."""

_CHAINED = frozenset({"zip", "tar", "libarchive", "simplecache", "filecache", "blockcache", "cached", "reference",
                      "dir", "generic", "local", "data"})  # fmt: skip
_DENIED = re.compile("Credential|GatedRepo|Unauthorized|Forbidden|SignatureDoesNotMatch|InvalidAccessKey|40[13] Client")
"""What stands in the errors of protocols that refuse access; some raise their own classes."""

_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_STATES = ("ETag", "etag", "md5Hash", "md5", "Content-MD5", "checksum", "sha256", "crc32c", "blob_id", "Last-Modified",
           "LastModified", "last_modified", "mtime", "updated", "created")  # fmt: skip


def is_remote(path: str | Path) -> bool:
    """Return whether a place is behind a protocol."""
    return _FORM.match(str(path)) is not None


def scrub(text: str) -> str:
    """Return a text for people without the credentials that URLs, storage options and the environment may put there."""
    text = re.sub(r"(:/+)[^/\s'\"]*@", r"\1***@", text)
    text = re.sub(r"\?[^\s'\"?]*=[^\s'\")\]>]*", "?***", text)
    for secret in _secrets():
        text = text.replace(secret, "***")
    return text


def named_place(given: str | Path, what: str = "root") -> Path:
    """Return the place that a user names, as with `--root`: an absolute path, or one behind a protocol.

    Args:
        given: the path or URL.
        what: what is there, for messages.

    Raises:
        DataError: the URL is chained, or holds credentials or a query.
    """
    text = str(given)
    if not is_remote(text) and not re.match(r"[A-Za-z][\w+.-]*::", text):
        return Path(text).expanduser().absolute()
    if reason := _fault(text):
        raise DataError(
            f"the {what} {scrub(spelt(text))} {reason}",
            expected="one protocol, such as https://host/data or s3://bucket/data, without user, password or query",
            next_step="leave them out: credentials go into the protocol's own settings, or those of fsspec",
        )
    if _protocol(text) == "file":
        return Path("/" + text.partition(":")[2].lstrip("/"))
    _filesystem(_protocol(text))
    return Path(text)


def cell_url(text: str) -> Path | None:
    """Return the place that a cell names by a URL, None where it is a path; raise ValueError where it is refused."""
    if not re.match(r"[A-Za-z][\w+.-]*(://|::)", text):
        return None
    if reason := _fault(text) or ("" if _protocol(text) in IN_CELLS else "names a protocol that tables may not name"):
        raise ValueError(f"the image {scrub(text)!r} {reason}")
    return Path(text)


def _fault(text: str) -> str:
    protocol, host = _protocol(text), re.sub(r"^[^:]*:/*", "", text).partition("/")[0]
    if "::" in text or protocol in _CHAINED:
        return "chains protocols, which is refused"
    if "@" in host:
        return "holds a user or a password"
    if "?" in text and (protocol in WEB or "=" in text):
        return "holds a query, which may be a token"
    return ""


def state(path: Path) -> tuple[int, int]:
    """Return the size of a file in bytes, and a number that changes with its checksum, tag or time; 0: unknown.

    Raises:
        OSError: with ENOENT or EACCES where the server says so, with EIO for all that may pass.
    """

    def look() -> tuple[int, int]:
        fs = _filesystem(_protocol(path))
        if _protocol(path) in WEB:
            info = web_state(fs, url(path))
        elif _protocol(path) == "hf":  # one request; without expand_info the whole folder is listed
            info = fs.info(url(path), refresh=True, expand_info=True)
        else:
            fs.invalidate_cache()
            info = fs.info(url(path))
        if info.get("type") == "directory":
            raise FileNotFoundError(errno.ENOENT, "is a folder")
        if info.get("size") is None:
            raise OSError(errno.EIO, "the server does not say how large it is")
        known = next((f"{name}={info[name]}" for name in _STATES if info.get(name)), "")
        return int(info["size"]), int.from_bytes(hashlib.sha256(known.encode()).digest()[:7], "big") if known else 0

    return _calling(look)


def fetch(path: Path, start: int, end: int, size: int) -> bytes:
    """Return bytes `start` to `end` of a file of `size` bytes; raise as `state` does."""

    def get() -> bytes:
        fs = _filesystem(_protocol(path))
        if _protocol(path) in WEB:
            return web_fetch(fs, url(path), start, end, size)
        # hf reads 5 MB ahead of each request unless told not to, and asks for the size unless it is given.
        options = {"cache_type": "none", "size": size} if _protocol(path) == "hf" else {}
        data: bytes = fs.cat_file(url(path), start=start, end=end, **options)
        if len(data) != end - start:
            raise OSError(errno.EIO, f"{len(data)} of {end - start} bytes came")
        return data

    return _calling(get)


def listing(folder: Path) -> list[Path]:
    """Return the files of a folder in the order of their names; raise as `state` does.

    Raises:
        DataError: web servers list nothing.
    """
    protocol = _protocol(folder)
    if protocol in WEB:
        raise DataError(
            f"{url(folder)} cannot be listed: web servers have no folders",
            next_step="name the table with --table FILE, or archives with --root 'https://host/{00000..00099}.tar'",
        )
    fs = _filesystem(protocol)
    rows: list[dict[str, Any]] = _calling(lambda: fs.ls(url(folder), detail=True))
    return sorted(folder / row["name"].rsplit("/", 1)[-1] for row in rows if row["type"] == "file")


def url(path: Path) -> str:
    """Return the URL of a place."""
    protocol, _, rest = str(path).partition(":/")
    if protocol.lower() in WEB:  # a name is a name: no query, no fragment; %20 stays as it is
        rest = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", quote(rest, safe="/%!$&'()*+,;=:@~[]"))
    return f"{protocol.lower()}://{rest}"


def spelt(path: str | Path) -> str:
    """Return a place as it was given, for tables and messages: a Path keeps one of a URL's two slashes."""
    text = str(path)
    return text if text.startswith("/") else re.sub(r"(?:^|(?<=::))([A-Za-z][A-Za-z0-9+.-]+):/(?!/)", r"\1://", text)


def _protocol(path: str | Path) -> str:
    return str(path).partition(":")[0].lower()


@cache
def _filesystem(protocol: str) -> Any:
    if protocol in _CHAINED:
        raise DataError(f"{protocol}:// chains protocols, which is refused", expected="such as https, s3, gs, hf")
    try:
        import fsspec
    except ImportError as error:
        raise DataError(
            f"{protocol}:// needs fsspec, which is not installed", next_step="pip install 'itin[remote]'"
        ) from error
    try:
        return fsspec.filesystem(protocol)
    except ImportError as error:
        raise DataError(
            f"{protocol}:// cannot be opened: {scrub(str(error))}", next_step="install the package that this names"
        ) from error
    except ValueError as error:
        raise DataError(
            f"{protocol}:// is no protocol that fsspec knows", expected="such as https, s3, gs, hf"
        ) from error


def _calling(call: Callable[[], T]) -> T:
    """Return what a call gives; whatever a protocol's package raises is an OSError without credentials."""
    try:
        return call()
    except DataError:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        if "RepositoryNotFound" in type(error.__cause__).__name__:  # what the hub also says where a token is missing
            raise PermissionError(errno.EACCES, "there is no such repository, or access was denied") from None
        raise FileNotFoundError(errno.ENOENT, "is missing") from None
    except PermissionError:
        raise PermissionError(errno.EACCES, "access was denied") from None
    except Exception as error:
        if _DENIED.search(f"{type(error).__name__}: {error}"):
            raise PermissionError(errno.EACCES, "access was denied") from None
        told = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        raise OSError(errno.EIO, scrub(" ".join(str(told).split())[:300])) from None


def _secrets() -> list[str]:
    """Return what must not be shown: the values of fsspec's settings, and of variables that are named like secrets."""
    found = [value for name, value in os.environ.items() if re.search("SECRET|TOKEN|PASSWORD|ACCESS_KEY", name)]

    def walk(value: Any, name: str = "") -> None:
        if isinstance(value, dict):
            for inner, one in value.items():
                walk(one, str(inner))
        elif isinstance(value, str) and not re.search("url|endpoint|region", name):
            found.append(value)

    with suppress(ImportError):
        from fsspec.config import conf

        walk(dict(conf))
    return sorted((one for one in found if len(one) > 5 and not one.startswith("/")), key=len, reverse=True)
