"""A model hub on the loopback: serves folders by the hub's file protocol, with the ways in which the real one fails.

Requests go to `/[datasets/]OWNER/NAME/resolve/REVISION/FILE` (HEAD and GET, ETag, ranges, and for weights a redirect to
where they lie), and to `/api/{models,datasets}/OWNER/NAME[/revision/REVISION | /tree/REVISION]`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_tests"
_LFS = (".safetensors", ".npz", ".parquet", ".pt")


@dataclass
class Repository:
    """One repository.

    Attributes:
        folder: its files.
        gated: refuses everybody who does not show TOKEN.
        busy: files that answer 429 so many times first.
        cut: files whose body breaks off in the middle so many times first.
    """

    folder: Path
    gated: bool = False
    busy: dict[str, int] = field(default_factory=dict[str, int])
    cut: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def commit(self) -> str:
        """40 hex digits that follow from the contents."""
        digest = hashlib.sha1(usedforsecurity=False)
        for file in self.files():
            digest.update(f"{file} ".encode() + (self.folder / file).read_bytes())
        return digest.hexdigest()

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())


class Hub(ThreadingHTTPServer):
    """The server; `repositories` maps `OWNER/NAME`, or `datasets/OWNER/NAME`, to what it serves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.log: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving() -> Generator[Hub]:
    """Runs a hub in a thread."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def client(hub: Hub | None, home: Path, token: str = TOKEN) -> dict[str, str]:
    """The environment of a client of the hub with its cache in `home`; without a hub, offline."""
    env = {"HF_HOME": str(home), "HF_TOKEN": token, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_ETAG_TIMEOUT": "3"}
    return {**env, "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0" if hub else "1"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        self.server.log.append(f"{self.command} {self.path}")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?/?", path)
        file = re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/(resolve|stored)/([^/]+)/(.+)", path)
        if api:
            kind, name, what, revision = api.groups()
            self._with(("datasets/" if kind == "datasets" else "") + name, revision, lambda r: self._api(r, name, what))
        elif file:
            name, how, revision, place = file.groups()
            self._with(name, revision, lambda r: self._file(r, name, place, redirect=how == "resolve"))
        else:
            self._refuse(404, "")

    def _with(self, name: str, revision: str | None, answer) -> None:
        repository = self.server.repositories.get(name)
        if repository is None:
            self._refuse(401, "RepoNotFound")
        elif repository.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "GatedRepo")
        elif revision not in (None, "main", repository.commit):
            self._refuse(404, "RevisionNotFound")
        else:
            answer(repository)

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code} if code else {})

    def _api(self, repository: Repository, name: str, what: str | None) -> None:
        if what == "tree":
            body = [
                {"type": "file", "path": f, "size": (repository.folder / f).stat().st_size, "oid": _etag(repository, f)}
                for f in repository.files()
            ]
        else:
            siblings = [{"rfilename": f} for f in repository.files()]
            body = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []}
        self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: Repository, name: str, place: str, redirect: bool) -> None:
        path = repository.folder / place
        if not path.is_file():
            self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commit})
            return
        if repository.busy.get(place, 0) > 0:
            repository.busy[place] -= 1
            self._refuse(429, "")
            return
        body, etag = path.read_bytes(), f'"{_etag(repository, place)}"'
        headers = {"ETag": etag, "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if redirect and path.suffix in _LFS:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(body))}
            headers["Location"] = f"{self.server.url}/{name}/stored/{repository.commit}/{place}"
            self._answer(302, b"", headers)
            return
        status, wanted = 200, re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            begin, end = int(wanted[1]), int(wanted[2] or len(body) - 1)
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(body)}"
            status, body = 206, body[begin : end + 1]
        cut = self.command == "GET" and repository.cut.get(place, 0) > 0
        if cut:
            repository.cut[place] -= 1
        self._answer(status, body, headers, cut=cut)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)


def _etag(repository: Repository, file: str) -> str:
    return hashlib.sha256((repository.folder / file).read_bytes()).hexdigest()
