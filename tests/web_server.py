"""A web server on loopback whose faults are switched on by path."""

from __future__ import annotations

import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class Server:
    """A web server on loopback that serves a folder.

    Args:
        root: the folder.

    Attributes:
        faults: path -> what goes wrong there with each GET, used up in order: a status such as `503`; `cut` and `wrong
            length` send half of the bytes and declare all or half; `endless` never ends, `silent` never answers, `drip`
            sends a byte now and then; `loop` redirects to itself for ever.
        redirects: path -> the URL that it leads to.
        sizes: path -> the size that is declared where it is another than the file's.
        sent: path -> the number of bytes sent.
        asked: the methods and paths of all requests.
        url: its address.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.faults, self.sent = root, dict[str, list[str]](), Counter[str]()
        self.redirects, self.sizes, self.asked = dict[str, str](), dict[str, int](), list[tuple[str, str]]()
        self.closed = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *given: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                outer.asked.append((self.command, self.path))
                waiting = outer.faults.get(self.path, [])
                fault = waiting.pop(0) if waiting and (self.command == "GET" or waiting[0] == "loop") else ""
                if fault == "loop":
                    waiting.append("loop")
                    return self.answer(302, b"", Location=self.path)
                if self.path in outer.redirects:
                    return self.answer(302, b"", Location=outer.redirects[self.path])
                if fault == "silent":
                    outer.closed.wait()
                    return None
                if fault.isdigit():
                    return self.answer(int(fault), b"")
                if fault == "drip":
                    self.answer(200, b"", Content_Length="1000")
                    return self.pour(b"x", 0.05)
                file = outer.root / unquote(self.path).lstrip("/")
                if not file.is_file():
                    return self.answer(404, b"")
                data, status, headers = file.read_bytes(), 200, {"ETag": str(file.stat().st_mtime_ns)}
                if self.command == "HEAD":
                    return self.answer(200, b"", **headers, Content_Length=str(outer.sizes.get(self.path, len(data))))
                whole = len(data)
                if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                    data, status = data[int(found[1]) : int(found[2]) + 1], 206
                    headers["Content_Range"] = f"bytes {found[1]}-{int(found[1]) + len(data) - 1}/{whole}"
                if fault == "cut":
                    headers["Content_Length"], data = str(len(data)), data[: len(data) // 2]
                if fault == "wrong length":
                    data = data[: len(data) // 2]
                if fault == "endless":
                    self.answer(status, b"", Content_Length="")
                    return self.pour(b"x" * 65536)
                outer.sent[self.path] += len(data)
                self.answer(status, data, **headers)

            def pour(self, data: bytes, wait: float = 0) -> None:
                try:
                    while not outer.closed.wait(wait):
                        outer.sent["endless"] += self.wfile.write(data)
                except OSError:
                    pass

            def answer(self, status: int, data: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content_Length": str(len(data)), **headers}.items():
                    if value:
                        self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        """End it, and the requests that wait in vain."""
        self.closed.set()
        self.http.shutdown()
        self.http.server_close()
