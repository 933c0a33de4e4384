"""A model hub on the loopback: serves folders by the hub's file protocol, with the ways in which the real one fails.

Requests go to `/[datasets/]OWNER/NAME/resolve/REVISION/FILE` (HEAD and GET, ETag, ranges, and for weights a redirect to
where they lie), and to `/api/{models,datasets}/OWNER/NAME[/revision/REVISION | /tree/REVISION]`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests._helpers.forks import Ended, Forks, forks

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
            digest.update(f"{file} {_etag(self, file)} ".encode())
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


class Client:
    """Processes with a cache in one folder: some reach a hub, some are offline, each a fork of one that was loaded so.

    Attributes:
        hub: that hub.
        home: the folder.
    """

    def __init__(self, hub: Hub, home: Path, stack: ExitStack) -> None:
        self.hub, self.home = hub, home
        self._stack = stack
        self._environments = {
            True: {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"},
            False: {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "1"},
        }
        self._started: dict[bool, Forks] = {}

    def forget(self) -> None:
        """Empties the cache."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()

    def run(self, *arguments: str | Path, offline: bool = False, token: str = TOKEN, cwd: Path | None = None) -> Ended:
        """Runs the command line, or `-c` and Python code."""
        env = {"HF_HOME": str(self.home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_ETAG_TIMEOUT": "3"}
        env = {**os.environ, "COLUMNS": "200", **env, **self._environments[not offline]}
        if offline not in self._started:
            self._started[offline] = self._stack.enter_context(forks(env))
        return self._started[offline].run(arguments, cwd or self.home, env={**env, "HF_TOKEN": token})


@contextmanager
def connected(home: Path) -> Generator[Client]:
    """Gives a client of a hub that serves nothing so far, and ends both afterwards."""
    with ExitStack() as stack:
        yield Client(stack.enter_context(serving()), home, stack)


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
    path = repository.folder / file
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, changed: int) -> str:
    """SHA-256 of a file that was last changed then; some are asked for often and hold hundreds of megabytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
