"""Files on web servers, by fsspec's own session (aiohttp): ranges, counted bytes, few redirects."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

WEB = ("http", "https")

MAX_REDIRECTS = 5
"""Redirects that are followed."""

SECONDS = 60
"""Seconds without a byte after which a server is given up for this time."""

SLOWEST = 10_000
"""Bytes a second below which a server is given up for this time, beside `SECONDS`."""

_PIECE = 2**18


def web_state(fs: Any, url: str) -> dict[str, Any]:
    """Return size and tag of a file as its server states them; raise OSError."""
    from fsspec.asyn import sync

    found: dict[str, Any] = sync(fs.loop, _state, fs, url)
    return found


def web_fetch(fs: Any, url: str, start: int, end: int, size: int) -> bytes:
    """Return the bytes from `start` to `end` of a file of `size` bytes; raise OSError."""
    from fsspec.asyn import sync

    data: bytes = sync(fs.loop, _fetch, fs, url, start, end, size)
    return data


async def _state(fs: Any, url: str) -> dict[str, Any]:
    session = await fs.set_session()
    async with session.head(url, **_options(fs, {}), allow_redirects=True) as answer:
        if answer.status not in (403, 405, 501):
            return _stated(answer)
    async with session.get(url, **_options(fs, {})) as answer:  # a server that has no HEAD
        return _stated(answer)


def _stated(answer: Any) -> dict[str, Any]:
    _check(answer.status)
    size = answer.headers.get("Content-Length", "")
    tags = {name: answer.headers.get(name) for name in ("ETag", "Content-MD5", "Last-Modified")}
    return {**tags, "size": int(size) if size.isdigit() else None}


async def _fetch(fs: Any, url: str, start: int, end: int, size: int) -> bytes:
    session = await fs.set_session()
    data = bytearray()
    async with session.get(url, **_options(fs, {"Range": f"bytes={start}-{end - 1}"}, end - start)) as answer:
        _check(answer.status)
        if answer.status != 206 and start:
            raise OSError(errno.EIO, "the server sends no parts of files: fetch the files, and read them from disk")
        stated = answer.headers.get("Content-Length", "")
        if stated.isdigit() and int(stated) != (end - start if answer.status == 206 else size):
            raise OSError(errno.EIO, f"the server sends {stated} bytes where {end - start} were asked for")
        whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status == 206 and whole.isdigit() and int(whole) != size:
            raise OSError(errno.EIO, f"the server says both that there are {size} bytes and {whole}")
        async for piece in answer.content.iter_chunked(_PIECE):
            data += piece
            if len(data) > end - start:
                break
    if len(data) < end - start or (len(data) > end - start and (answer.status == 206 or end == size)):
        raise OSError(errno.EIO, f"{len(data)} bytes came where {end - start} were asked for")
    return bytes(data[: end - start])


def _options(fs: Any, headers: Mapping[str, str], size: int = 0) -> dict[str, Any]:
    import aiohttp

    total = 2 * SECONDS + size / SLOWEST
    own = {name: value for name, value in fs.kwargs.items() if name not in ("headers", "allow_redirects")}
    return {
        "timeout": aiohttp.ClientTimeout(total=total, sock_connect=SECONDS, sock_read=SECONDS),
        **own,
        "max_redirects": MAX_REDIRECTS + 1,  # aiohttp gives up at this one
        "headers": {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity", **headers},
    }


def _check(status: int) -> None:
    if status in (404, 410):
        raise FileNotFoundError(errno.ENOENT, "is missing")
    if status in (401, 403):
        raise PermissionError(errno.EACCES, "access was denied")
    if status >= 300:
        raise OSError(errno.EIO, f"the server answers {status}")
