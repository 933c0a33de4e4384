"""What of this machine and its user must not be published: access tokens, home folder, names, e-mail."""

from __future__ import annotations

import getpass
import os
import pwd
import re
import socket
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from semconv.system.shown_paths import here

Rule = Literal["token", "folder", "anywhere", "word", "in paths"]

MOST_MACHINES = frozenset(
    "admin administrator app build builder centos debian default dev docker ec2-user fedora guest home host jenkins "
    "jovyan local localhost node nobody root runner server student test ubuntu user users vagrant worker".split()
)
"""Names of users and machines that are so common that they identify no one."""
SHORT = 4
"""Names of fewer letters are looked for in paths alone: they occur in any text by chance."""
_SHORTEST_TOKEN = 8
_SECRET = re.compile(
    r"(^|_)(TOKENS?|SECRETS?|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|ACCESS_KEY|AUTH)(_|$)", re.IGNORECASE
)


@dataclass(frozen=True)
class PrivateWord:
    """Something to look for.

    Attributes:
        what: what the word is, for messages.
        value: the word itself.
        rule: `token`: anywhere, and never shown; `folder` and `anywhere`: where no letter or digit follows; `word`:
            where none stands on either side; `in paths`: as the name of a file or folder in a path from the root, for
            names that stand in every text.
    """

    what: str
    value: str
    rule: Rule

    @property
    def shown(self) -> str:
        return self.what if self.rule == "token" else f"{self.what} {self.value!r}"


def access_tokens(environment: Mapping[str, str] | None = None) -> list[PrivateWord]:
    """Returns the values of variables whose names say that they are secret, and what the hub's client has kept."""
    environment = os.environ if environment is None else environment
    found = [
        PrivateWord(f"the value of {name}", value.strip(), "token")
        for name, value in sorted(environment.items())
        if _SECRET.search(name) and not value.strip().isdigit() and not os.path.exists(value)
    ]
    from huggingface_hub import constants

    for file in (constants.HF_TOKEN_PATH, constants.HF_STORED_TOKENS_PATH):
        with suppress(OSError, UnicodeDecodeError):
            for line in Path(file).read_text(encoding="utf-8").splitlines():
                if not line.startswith("["):  # which names the token that the next line holds
                    found.append(PrivateWord("a token of the model hub", line.rpartition("=")[2].strip(), "token"))
    return _once(word for word in found if len(word.value) >= _SHORTEST_TOKEN)


def personal_words(folders: Iterable[Path] = ()) -> list[PrivateWord]:
    """Returns the words that identify this machine and its user.

    Args:
        folders: further folders whose paths must not be published, such as that of the run.
    """
    users, homes, names = _users()
    hosts = {socket.gethostname(), os.environ.get("HOSTNAME", ""), os.uname().nodename}
    hosts |= {host.partition(".")[0] for host in hosts}
    places = [*here(), *folders]
    found = [PrivateWord("the home folder", home, "folder") for home in _both(map(Path, homes))]
    found += [PrivateWord("a folder of this machine", place, "folder") for place in _both(places)]
    found += [PrivateWord("the e-mail", address, "anywhere") for address in _of_git("email") if "@" in address]
    names |= set(_of_git("name"))
    for what, words in (("the user name", users), ("the name", names), ("the host name", hosts)):
        found += [PrivateWord(what, word, _rule(word)) for word in sorted(words)]
    return _once(word for word in found if word.value)


def _once(words: Iterable[PrivateWord]) -> list[PrivateWord]:
    """Returns the words without those of the same value, the first of each."""
    return list({word.value: word for word in reversed(list(words))}.values())[::-1]


def _rule(name: str) -> Rule:
    return "in paths" if len(name) < SHORT or name.lower() in MOST_MACHINES else "word"


def _both(folders: Iterable[Path]) -> list[str]:
    """Returns folders as given and with links resolved, without those so high up that they identify no one."""
    paths = [path for folder in folders for path in (os.path.abspath(folder), os.path.realpath(folder))]
    return [path for path in dict.fromkeys(paths) if len(Path(path).parts) > 2]


def _users() -> tuple[set[str], set[str], set[str]]:
    """Returns names to log in with, home folders and full names, by the environment and by the system."""
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER")}
    homes, names = {os.environ.get("HOME", "")}, set[str]()
    with suppress(OSError, KeyError):
        users.add(getpass.getuser())
    with suppress(KeyError):
        known = pwd.getpwuid(os.getuid())
        users.add(known.pw_name)
        homes.add(known.pw_dir)
        names.add(known.pw_gecos.partition(",")[0].strip())
    return users - {""}, homes - {""}, names - {""}


def _of_git(key: str) -> list[str]:
    """Returns what git's settings and variables say of the author's `name` or `email`."""
    found = [os.environ.get(f"GIT_{who}_{key.upper()}", "") for who in ("AUTHOR", "COMMITTER")]
    found.append(os.environ.get("EMAIL", "") if key == "email" else "")
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "config", "--get-all", f"user.{key}"]
        found += subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout.splitlines()
    return sorted({one.strip() for one in found} - {""})
