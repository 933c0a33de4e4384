"""What is looked for in an archive before it is written, and that it is found wherever it is hidden."""

from __future__ import annotations

import base64
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save

from semconv.system import private_words
from semconv.system.leaks import leaks
from semconv.system.private_words import PrivateWord, Rule, access_tokens, personal_words

SECRET = "quentin.zarathustra"


def _zip(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", f"{text} {text}")
    return buffer.getvalue()


def _npz(text: str) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.frombuffer(text.encode(), np.uint8))
    return buffer.getvalue()


def _parquet(values: list[object], metadata: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table({"x": values}).replace_schema_metadata(metadata), buffer, compression="zstd")
    return buffer.getvalue()


def _png(kind: bytes, chunk: bytes) -> bytes:
    parts = [(b"IHDR", bytes(13)), (kind, chunk), (b"IEND", b"")]
    whole = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


HIDDEN: dict[str, Callable[[str], bytes]] = {
    "text": lambda s: f"x {s} y".encode(),
    "json": lambda s: f'{{"path": "/{s}/x"}}'.encode(),
    "numbers": lambda s: b"\0\xff\xfe" + s.encode() + b"\0\x80",
    "zip": _zip,
    "zip in gzip": lambda s: gzip.compress(_zip(s)),
    "npz": _npz,
    "zlib": lambda s: zlib.compress(f"{s} {s}".encode()),
    "base64 in a page": lambda s: b"<script>const x = '" + base64.b64encode(gzip.compress(s.encode())) + b"'</script>",
    "metadata of tensors": lambda s: save({"x": torch.zeros(1)}, {"made by": s}),
    "name of a tensor": lambda s: save({s: torch.zeros(1)}),
    "text in a table": lambda s: _parquet(["a", s, None] * 9),
    "lists in a table": lambda s: _parquet([["a"], [s, "b"], None] * 9),
    "tables in a table": lambda s: _parquet([{"a": {"b": s}}] * 9),
    "metadata of a table": lambda s: _parquet([1, 2], {"made by": s}),
    "a picture's text": lambda s: _png(b"tEXt", b"Author\0" + s.encode()),
    "a picture's packed text": lambda s: _png(b"zTXt", b"Author\0\0" + zlib.compress(f"{s} {s}".encode())),
    "a picture's other text": lambda s: _png(b"iTXt", b"Author\0\1\0en\0\0" + zlib.compress(f"{s} {s}".encode())),
}


@pytest.mark.parametrize("place", HIDDEN)
@pytest.mark.parametrize("rule", ["token", "folder", "anywhere", "word"])
def test_a_word_is_found_wherever_it_is_hidden(place: str, rule: Rule):
    word = PrivateWord("the word", SECRET, rule)
    assert leaks("x", HIDDEN[place](SECRET), [word]) == [word]
    assert leaks("x", HIDDEN[place]("somebody.elses.word"), [word]) == []


def test_names_of_files_and_members_are_looked_at_too():
    word = PrivateWord("the word", SECRET, "word")
    assert leaks(f"figures/{SECRET}.png", b"", [word]) == [word]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"{SECRET}/a", "x")
    assert leaks("x", buffer.getvalue(), [word]) == [word]


@pytest.mark.parametrize(
    "spelt", ["/home/ren\\u00e9e d", "/home/ren%C3%A9e%20d", "%2Fhome%2Fren%C3%A9e%20d", "/home/renée d"]
)
def test_a_path_is_found_as_json_and_addresses_spell_it(spelt: str):
    word = PrivateWord("the home folder", "/home/renée d", "folder")
    assert leaks("x", spelt.encode(), [word]) == [word]


@pytest.mark.parametrize(
    ("rule", "value", "text", "found"),
    [
        ("word", "green", "a Green-light", True),
        ("word", "green", "evergreens", False),
        ("word", "green", "/home/green/x", True),
        ("folder", "/home/green", "/home/green/x", True),
        ("folder", "/home/green", "/home/greenhouse", False),
        ("in paths", "a", "a </a> and/a or e/a .../a", False),
        ("in paths", "a", "/home/a/x", True),
        ("in paths", "a", "'/a'", True),
        ("in paths", "root", "the root of /rooted", False),
        ("in paths", "root", "in /root/.cache", True),
        ("token", "hf_abcdefgh", "xhf_abcdefghx", True),
        ("token", "hf_abcdefgh", "HF_ABCDEFGH", False),
    ],
)
def test_a_word_is_found_by_its_rule_and_not_in_others(rule: Rule, value: str, text: str, found: bool):
    assert bool(leaks("x", text.encode(), [PrivateWord("it", value, rule)])) == found


def test_damaged_files_are_looked_through_as_they_are():
    word = PrivateWord("the word", SECRET, "word")
    for make in HIDDEN.values():
        content = make(SECRET)
        for broken in (content[: len(content) // 2], content[:12], content[:4]):
            leaks("x", broken, [word])
        assert leaks("x", content[:12] + b"\0" + SECRET.encode(), [word]) == [word]


def test_tokens_are_variables_that_say_so_and_what_the_hub_client_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(tmp_path / "stored"))
    (tmp_path / "token").write_text("hf_file_token\n")
    (tmp_path / "stored").write_text("[hf_of_the_lab]\nhf_token = hf_stored_token\n")
    environment = {
        "HF_TOKEN": "hf_variable_token",
        "GITHUB_TOKEN": "ghp_0123456789",
        "OPENAI_API_KEY": "sk-0123456789",
        "MY_PASSWORD": "correct horse",
        "TOKENIZERS_PARALLELISM": "false-false",
        "MAX_TOKENS": "1000000000",
        "SHORT_TOKEN": "abc",
        "HF_TOKEN_PATH": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    found = access_tokens(environment)
    assert {word.value for word in found} == {
        *("hf_variable_token", "ghp_0123456789", "sk-0123456789", "correct horse"),
        *("hf_file_token", "hf_stored_token"),
    }
    assert not [word for word in found if word.value in word.shown]


def test_personal_words_are_of_user_machine_and_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = tmp_path / "home" / "zarathustra"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text("[user]\nname = Quentin Zarathustra\nemail = q@zarathustra.example\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USER", "zarathustra")
    monkeypatch.setenv("LOGNAME", "qz")
    monkeypatch.delenv("GIT_AUTHOR_EMAIL", raising=False)
    monkeypatch.chdir(home)
    monkeypatch.setattr(private_words.socket, "gethostname", lambda: "eagle.lab.example")
    rules = {word.value: word.rule for word in personal_words([tmp_path / "run"])}
    assert rules[str(home)] == rules[str(tmp_path / "run")] == "folder"
    assert (
        rules["zarathustra"] == rules["eagle"] == rules["eagle.lab.example"] == rules["Quentin Zarathustra"] == "word"
    )
    assert rules["q@zarathustra.example"] == "anywhere"
    assert rules["qz"] == "in paths"
    assert "/" not in rules


@pytest.mark.parametrize("name", ["root", "Ubuntu", "vm", "a"])
def test_names_that_many_share_are_looked_for_in_paths_alone(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("USER", name)
    assert {word.rule for word in personal_words() if word.value == name} == {"in paths"}
