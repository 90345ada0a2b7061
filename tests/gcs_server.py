"""A server of Google Cloud Storage on loopback (gcp-storage-emulator's): one token alone, faults by object."""

from __future__ import annotations

import io
import os
import re
import threading
from collections import Counter
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

BUCKET = "photos"


class GcsServer:
    """A server with the bucket `photos`; it skips the test where gcsfs or gcp-storage-emulator is not installed.

    Attributes:
        token: the one that it takes; others are refused.
        faults: path of an object (`/photos/a.tar`) -> what goes wrong there with each download, used up in order:
            `503`, or `cut`, which ends the connection in the middle.
        sent: path -> the number of bytes sent of it.
        url: its address.
    """

    token = "ya29.Loopback-Example_token"

    def __init__(self) -> None:
        os.environ.update(self.environment())
        pytest.importorskip("gcsfs", reason="needs gcsfs and gcp-storage-emulator, of no extra")
        emulator = pytest.importorskip("gcp_storage_emulator.server", reason="needs gcp-storage-emulator, of no extra")
        from gcp_storage_emulator.handlers.buckets import create_bucket
        from gcp_storage_emulator.storage import Storage

        self.faults, self.sent = dict[str, list[str]](), Counter[str]()
        storage, outer = Storage(use_memory_fs=True), self
        create_bucket(BUCKET, storage)

        class Handler(emulator.RequestHandler):  # type: ignore[misc, name-defined]
            def do_GET(self) -> None:
                outer._answer(self, super().do_GET)

            def do_POST(self) -> None:
                outer._answer(self, super().do_POST)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(storage, *given))
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    @staticmethod
    def environment() -> dict[str, str]:
        """The variables without which gcsfs asks Google about the token, and about the bucket by gRPC over TLS."""
        return {"FETCH_RAW_TOKEN_EXPIRY": "false", "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}

    def settings(self, token: str | None = None) -> dict[str, str]:
        """What fsspec's settings of `gs` say to point its client here."""
        return {"endpoint_url": self.url, "token": token or self.token}

    def put(self, folder: Path, below: str) -> Path:
        """Copy a folder into the bucket; return its root."""
        from fsspec import filesystem

        fs = filesystem("gs", skip_instance_cache=True)
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                fs.pipe_file(f"{BUCKET}/{below}/{one.relative_to(folder)}", one.read_bytes())
        return Path(f"gs://{BUCKET}/{below}")

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, handler: Any, answer: Callable[[], None]) -> None:
        if handler.headers.get("Authorization") != f"Bearer {self.token}":
            handler.send_error(403)  # gcsfs tries for a minute again after 401
            return
        found = re.search(r"/b/([^/]+)/o/([^?]+)", handler.path)
        path = f"/{found[1]}/{unquote(found[2])}" if found and "alt=media" in handler.path else ""
        waiting = self.faults.get(path, [])
        fault = waiting.pop(0) if waiting else ""
        if fault == "503":
            handler.send_error(503)
            return
        out, handler.wfile = handler.wfile, io.BytesIO()
        answer()
        data, handler.wfile = handler.wfile.getvalue(), out
        self.sent[path] += len(data)
        out.write(data[: len(data) // 2] if fault == "cut" else data)
