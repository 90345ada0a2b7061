"""An S3 server on loopback (moto's) that takes one key alone, and whose faults are switched on by object."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

BUCKET = "photos"

_DENIED = b"<Error><Code>InvalidAccessKeyId</Code><Message>The key %s is not known.</Message></Error>"
_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class S3Server:
    """A server with the bucket `photos`; it skips the test where moto, flask or s3fs is not installed.

    Attributes:
        key, secret: the credentials that it takes; others are refused.
        faults: path of an object (`/photos/a.tar`) -> what goes wrong there with each GET, used up in order: `503`, or
            `cut`, which ends the connection in the middle.
        sent: path -> the number of bytes sent.
        url: its address.
    """

    key, secret = "AKIALOOPBACKEXAMPLE", "s3cr3t/Of+The+Loopback/Server"

    def __init__(self) -> None:
        pytest.importorskip("s3fs", reason="needs s3fs, of the extra test")
        pytest.importorskip("flask", reason="needs flask, of the extra test")
        app = pytest.importorskip("moto.moto_server.werkzeug_app", reason="needs moto, of the extra test")
        from moto.moto_api._internal import models
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *given: Any) -> None:
                pass

        self.faults, self.sent = dict[str, list[str]](), Counter[str]()
        models.moto_api_backend.reset()  # what other servers of this process held
        self._app = app.DomainDispatcherApplication(app.create_backend_app)
        self._http = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def environment(self, secret: str | None = None, key: str | None = None) -> dict[str, str]:
        """The variables that point S3's clients here."""
        return {
            "AWS_ACCESS_KEY_ID": key or self.key,
            "AWS_SECRET_ACCESS_KEY": secret or self.secret,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def put(self, folder: Path, below: str) -> Path:
        """Copy a folder into the bucket; return its root."""
        from fsspec import filesystem

        fs = filesystem("s3", skip_instance_cache=True)
        if not fs.exists(BUCKET):
            fs.mkdir(BUCKET)
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                fs.pipe_file(f"{BUCKET}/{below}/{one.relative_to(folder)}", one.read_bytes())
        return Path(f"s3://{BUCKET}/{below}")

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()

    def _answer(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = request["PATH_INFO"]
        found = re.search(r"Credential=([^/]+)/", request.get("HTTP_AUTHORIZATION", ""))
        if found is None or found[1] != self.key:
            body = _DENIED % (found[1] if found else "").encode()
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body if request["REQUEST_METHOD"] != "HEAD" else b""]
        waiting = self.faults.get(path, [])
        fault = waiting.pop(0) if waiting and request["REQUEST_METHOD"] == "GET" else ""
        if fault == "503":
            start("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(_BUSY)))])
            return [_BUSY]
        data = b"".join(self._app(request, start))
        if request["REQUEST_METHOD"] == "GET":
            self.sent[path] += len(data)
        return _cut(data) if fault == "cut" else [data]


def _cut(data: bytes) -> Iterator[bytes]:
    yield data[: len(data) // 2]
    raise ConnectionError("cut")
