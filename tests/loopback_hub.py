"""A small model hub on loopback: it serves folders as the Hugging Face hub serves models, to the hub's real client.

As on the real hub, a file of weights is known by its SHA-256 and comes from another address than the model's page, and
every other file is known by its Git digest. Faults are switched on by attribute or method.
"""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".pth", ".pkl", ".h5", ".onnx", ".model", ".tar", ".parquet")
"""Endings of the files that are known by their SHA-256."""


@dataclass
class Model:
    """A folder under the name of a model."""

    folder: Path
    commit: str
    access: str
    """Who may read it: `public`; `gated`: all see its page, a token opens its files; `private`: hidden without one."""

    def files(self) -> dict[str, Path]:
        """Its files by the path below its folder."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


@dataclass
class Request:
    """What a client asked for."""

    method: str
    path: str
    headers: Message
    """By name in any case."""


@dataclass
class LoopbackHub:
    """The hub.

    Attributes:
        requests: what was asked for so far.
        token: opens models that are gated or private.
        damaged: paths of files that are sent with other bytes than their digest says.
        cuts: the connection breaks once for each of these files after that many bytes.
        silent: whether requests are accepted and never answered.
        status: answer every request with this, where it is not None.
    """

    requests: list[Request] = field(default_factory=list)
    token: str = "hf_loopback"
    damaged: set[str] = field(default_factory=set)
    cuts: dict[str, int] = field(default_factory=dict)
    silent: bool = False
    status: int | None = None
    _models: dict[str, Model] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Its address, for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def storage(self) -> str:
        """The address of files of weights: another host's name, so that the client takes it for another host."""
        return self.endpoint.replace("127.0.0.1", "localhost")

    def add(self, name: str, folder: Path, access: str = "public") -> str:
        """Serve a folder as the model of that name, with all it holds at the time of a request; return its commit."""
        commit = hashlib.sha1(f"{name} {folder}".encode()).hexdigest()
        self._models[name] = Model(folder, commit, access)
        return commit

    def accept(self, name: str, folder: Path) -> None:
        """Let clients with the token push files to the model of that name, which are served from the folder."""
        folder.mkdir(parents=True)
        self.add(name, folder)
        self._open.add(name)

    def asked(self, method: str, part: str = "") -> list[Request]:
        """The requests of a method whose path has `part` in it."""
        return [one for one in self.requests if one.method == method and part in one.path]

    def environment(self, home: Path) -> dict[str, str]:
        """The variables that make a process ask this hub, with its cache below `home`."""
        return {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}

    def close(self) -> None:
        """End the hub, and the requests that wait in vain."""
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def find(self, path: str) -> tuple[str, Model, list[str]] | None:
        """The model whose name begins a path, and the rest of the path."""
        parts = path.strip("/").split("/")
        names = ("/".join(parts[:2]), parts[0])
        name = next((name for name in names if name in self._models), None)
        return None if name is None else (name, self._models[name], parts[name.count("/") + 1 :])


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._take()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal quiet."""

    def _answer(self) -> None:
        hub = self.hub
        path = _of_models(unquote(urlsplit(self.path).path))
        hub.requests.append(Request(self.command, self.path, self.headers))
        if hub.silent:
            hub._closed.wait()
            self.close_connection = True
        elif hub.status is not None:
            self._send(hub.status, b"no")
        elif path.startswith("/files/"):
            self._content(path.removeprefix("/files/"))
        else:
            self._hub(path)

    def _take(self) -> None:
        """Take what a client pushes: a model's name, how each file is sent, and a commit with the files in it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = _of_models(unquote(urlsplit(self.path).path))
        self.hub.requests.append(Request(self.command, self.path, self.headers))
        asked = self.hub.find(path.removeprefix("/api/models"))
        if asked is not None and asked[2][:1] == ["paths-info"] and asked[1].access != "private":
            wanted = dict(parse_qsl(body.decode())) if b"=" in body else json.loads(body)
            names = [wanted["paths"]] if isinstance(wanted["paths"], str) else wanted["paths"]
            there = asked[1].files()
            self._json([self._entry(name, there[name], "oid") for name in names if name in there])
            return
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(401, "RepoNotFound")
            return
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self._json({"url": f"{self.hub.endpoint}/{name}", "name": name, "id": name})
            return
        if path == "/api/validate-yaml":  # the header of a model's card
            self._json({"errors": [], "warnings": []})
            return
        found = self.hub.find(path.removeprefix("/api/models"))
        if found is None or found[0] not in self.hub._open:
            self._refuse(403, "Forbidden")
        elif found[2][:1] == ["preupload"]:
            files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(body)["files"]]
            self._json({"files": [{**one, "shouldIgnore": False} for one in files]})
        elif found[2][:1] == ["commit"]:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    (found[1].folder / line["value"]["path"]).write_bytes(b64decode(line["value"]["content"]))
            page = f"{self.hub.endpoint}/{found[0]}/commit/{found[1].commit}"
            self._json({"success": True, "commitOid": found[1].commit, "commitUrl": page, "hookOutput": ""})
        else:
            self._json({})

    def _hub(self, path: str) -> None:
        api = path.startswith("/api/models/")
        found = self.hub.find(path.removeprefix("/api/models") if api else path)
        known = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        if found is None or (found[1].access == "private" and not known):
            self._refuse(401, "RepoNotFound")  # as the real hub: it does not say which
            return
        name, model, rest = found
        if len(rest) > 1 and rest[0] in ("revision", "tree", "resolve") and rest[1] not in ("main", model.commit):
            self._refuse(404, "RevisionNotFound")
        elif api and rest[:1] in ([], ["revision"]):
            self._json(self._info(name, model))
        elif api and rest[0] == "tree":
            self._json([self._entry(name, path, "oid") for name, path in model.files().items()])
        elif not api and rest[:1] == ["resolve"]:
            if model.access == "gated" and not known:
                self._refuse(401, "GatedRepo")
            else:
                self._resolve(name, model, "/".join(rest[2:]))
        else:
            self._send(404, b"")

    def _info(self, name: str, model: Model) -> dict[str, Any]:
        siblings = []
        for file, path in model.files().items():
            entry = self._entry(file, path, "sha256")
            siblings.append({"rfilename": file, "size": entry["size"], "blobId": entry["oid"]} | _only(entry, "lfs"))
        gated = "auto" if model.access == "gated" else False
        more = {"gated": gated, "private": model.access == "private", "disabled": False, "downloads": 0, "likes": 0}
        return {"_id": "0", "id": name, "modelId": name, "sha": model.commit, "tags": [], "siblings": siblings} | more

    def _entry(self, file: str, path: Path, digest: str) -> dict[str, Any]:
        data = path.read_bytes()
        entry = {"type": "file", "path": file, "size": len(data), "oid": _git_digest(data)}
        if file.endswith(LARGE):
            entry["lfs"] = {digest: _sha256(data), "size": len(data), "pointerSize": 134}
        return entry

    def _resolve(self, name: str, model: Model, file: str) -> None:
        path = model.files().get(file)
        commit = {"X-Repo-Commit": model.commit}
        if path is None:
            self._refuse(404, "EntryNotFound", commit)
            return
        data = path.read_bytes()
        if file.endswith(LARGE):
            linked = {"X-Linked-ETag": f'"{_sha256(data)}"', "X-Linked-Size": str(len(data))}
            self._send(302, b"", commit | linked | {"Location": self.hub.storage + f"/files/{name}/{file}"})
        else:
            self._send(200, data, commit | {"ETag": f'"{_git_digest(data)}"'})

    def _content(self, path: str) -> None:
        """Send a file of weights or a part of it, as the address that the hub's page leads to."""
        found = self.hub.find(path)
        file = "/".join(found[2]) if found else ""
        if found is None or file not in found[1].files():
            self._send(404, b"")
            return
        data = found[1].files()[file].read_bytes()
        headers = {"ETag": f'"{_sha256(data)}"', "Accept-Ranges": "bytes"}
        if file in self.hub.damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        asked, status = self.headers.get("Range"), 200
        if asked is not None:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            last = min(int(end or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{last}/{len(data)}"
            data, status = data[int(start) : last + 1], 206
        cut = self.hub.cuts.pop(file, None) if self.command == "GET" else None
        self._send(status, data, headers, cut)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True


def _of_models(path: str) -> str:
    """Return the path of a data set's page as that of the model of its name: the hub serves both alike."""
    return path.replace("/api/datasets/", "/api/models/", 1).removeprefix("/datasets")


def _only(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {key: entry[key]} if key in entry else {}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_digest(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
