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
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from tests._helpers.forks import Ended, Forks, forks

TOKEN = "hf_of_the_tests"
_BLOCK = 2**22  # bytes of a file that are held at once
_LFS = (".safetensors", ".npz", ".parquet", ".pt")


@dataclass
class Repository:
    """One repository.

    Attributes:
        folder: its files.
        gated: refuses everybody who does not show TOKEN.
        busy: files that answer 429 so many times first.
        cut: files whose body breaks off in the middle so many times first.
        pinned: what the commit is said to be; by default it follows from the contents.
        hashed: whether ETags are hashes of the contents, as the hub's are, or follow from name, size and time.
    """

    folder: Path
    gated: bool = False
    busy: dict[str, int] = field(default_factory=dict[str, int])
    cut: dict[str, int] = field(default_factory=dict[str, int])
    pinned: str = ""
    hashed: bool = True

    @property
    def commit(self) -> str:
        """40 hex digits."""
        if self.pinned:
            return self.pinned
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
        size, etag = path.stat().st_size, f'"{_etag(repository, place)}"'
        headers = {"ETag": etag, "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if redirect and path.suffix in _LFS:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(size)}
            headers["Location"] = f"{self.server.url}/{name}/stored/{repository.commit}/{place}"
            self._answer(302, b"", headers)
            return
        status, begin, end = 200, 0, size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            begin, end = int(wanted[1]), min(size, int(wanted[2]) + 1 if wanted[2] else size)
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
            status = 206
        cut = self.command == "GET" and repository.cut.get(place, 0) > 0
        if cut:
            repository.cut[place] -= 1
        self._begin(status, end - begin, headers)
        if self.command == "HEAD":
            return
        with path.open("rb") as stored:
            self._send(stored, begin, begin + (end - begin) // 2 if cut else end)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)

    def _send(self, stored: BinaryIO, begin: int, end: int) -> None:
        """Sends the bytes [begin, end) of a file, of which some megabytes are held at once."""
        stored.seek(begin)
        left = end - begin
        while left and (block := stored.read(min(left, _BLOCK))):
            self.wfile.write(block)
            left -= len(block)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self._begin(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _etag(repository: Repository, file: str) -> str:
    path = repository.folder / file
    if not repository.hashed:
        found = path.stat()
        return hashlib.sha256(f"{file} {found.st_size} {found.st_mtime_ns}".encode()).hexdigest()
    return _sha256(path, path.stat().st_mtime_ns)


@cache
def _sha256(path: Path, changed: int) -> str:
    """SHA-256 of a file that was last changed then; some are asked for often and hold gigabytes."""
    with path.open("rb") as stored:
        return hashlib.file_digest(stored, "sha256").hexdigest()
