"""JSON and TOML of others: what is no plain table of sensible size is one sentence, whatever is wrong with it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from semconv.system.errors import InputError
from semconv.system.json_toml import DEEPEST, MOST_JSON, MOST_TOML, is_plain_json, parse_json, read_json, read_toml

BAD_JSON = {
    "nothing": (b"", "is not JSON that can be read: Expecting value"),
    "not UTF-8": (b'{"a": "\xff"}', "is not UTF-8 text: invalid start byte at byte 7"),
    "a list": (b"[1]", "must hold a JSON object, got a list"),
    "null": (b"null", "must hold a JSON object, got null"),
    "a thousand levels": (b'{"a":' * 1000 + b"1" + b"}" * 1000, "nested too deep: at most 64 levels"),
    "more levels than the stack": (b"[" * 100_000, "nested too deep"),
    "one level too many": (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested too deep"),
    "5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", "a number of thousands of digits"),
    "400 digits": (b'{"a": -1' + b"0" * 399 + b"}", "a number of 401 digits, which is too large"),
    "too large for a float": (b'{"a": [1e999]}', "too large for any float"),
    "NaN": (b'{"a": NaN}', "NaN is no number of JSON"),
    "two values of a key": (b'{"a": {"b": 1, "b": 2}}', "key 'b' stands twice, with two values"),
    "half of a character": (b'{"a": "\\ud800"}', "half of a character"),
    "half of a character in a key": (b'{"\\udc00": 1}', "half of a character"),
    "too large": (b" " * (MOST_JSON + 1), f"at most {MOST_JSON} bytes are read"),
}
BAD_TOML = {
    "no TOML": (b"[a", "is not TOML that can be read"),
    "not UTF-8": (b'a = "\xff"', "is not UTF-8 text"),
    "more levels than the stack": (b"a = " + b"[" * 100_000, "nested too deep"),
    "a key of 500,000 parts": (b"a" + b".a" * 500_000 + b" = 1", "nested too deep"),  # took more than 20 GiB
    "a quoted key of many parts": (b"[a" + b' . "\\"b c"' * 90_000 + b"]", "nested too deep"),
    "5,000 digits": (b"a = " + b"9" * 5000, "a number of thousands of digits"),
    "400 digits": (b"a = " + b"9" * 400, "a number of 400 digits"),
    "too large": (b"#" * (MOST_TOML + 1), f"at most {MOST_TOML} bytes are read"),
}


@pytest.mark.parametrize(("data", "told"), BAD_JSON.values(), ids=list(BAD_JSON))
def test_bad_json_is_one_sentence(data: bytes, told: str, tmp_path: Path):
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.json .*" + told) as refused:
        read_json(tmp_path / "x.json")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(("data", "told"), BAD_TOML.values(), ids=list(BAD_TOML))
def test_bad_toml_is_one_sentence(data: bytes, told: str, tmp_path: Path):
    (tmp_path / "x.toml").write_bytes(data)
    with pytest.raises(InputError, match=r"x\.toml .*" + told) as refused:
        read_toml(tmp_path / "x.toml")
    assert len(str(refused.value).splitlines()) == 1


def test_what_is_no_file_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    for read in (read_json, read_toml):
        for path in (tmp_path / "none", tmp_path / "file" / "none"):
            with pytest.raises(InputError, match=r"none does not exist"):
                read(path)
        with pytest.raises(InputError, match="^it is not there$"):
            read(tmp_path / "none", "it is not there")
        with pytest.raises(InputError, match="is not a file"):
            read(tmp_path)


def test_what_is_right_is_read(tmp_path: Path):
    deepest = "[" * DEEPEST + "]" * DEEPEST
    assert len(str(parse_json(deepest, "x"))) == 2 * DEEPEST
    assert parse_json(b'{"a": 1, "a": 1, "b": 1e300, "c": "\\ud83d\\ude00"}', "x") == {
        "a": 1,
        "b": 1e300,
        "c": "\U0001f600",
    }
    assert parse_json("[Infinity, 1e999]", "x", finite=False) == [math.inf, math.inf]
    (tmp_path / "x.toml").write_bytes(b'a.b.c = [1, 2.5]\r\n"d.e" = "' + b"The end. " * 200 + b'"')
    assert read_toml(tmp_path / "x.toml") == {"a": {"b": {"c": [1, 2.5]}}, "d.e": "The end. " * 200}


@pytest.mark.parametrize("data", [data for data, _ in BAD_JSON.values() if len(data) < MOST_JSON], ids=str)
def test_nothing_bad_is_taken_for_plain_json(data: bytes):
    text = data.decode("utf-8", "surrogateescape")
    assert not is_plain_json(text)


def test_what_is_plain_json_is_what_is_read_but_for_keys_that_stand_twice():
    """Against `parse_json`, over values of every kind at every depth."""
    leaves = [
        "1",
        "-1e300",
        "true",
        "null",
        '"x"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        "1e999",
        "NaN",
        "9" * 400,
        "[]",
        "{}",
    ]
    for depth in (1, 2, DEEPEST - 1, DEEPEST, DEEPEST + 1):
        for leaf in leaves:
            for opened, closed in (('{"a":', "}"), ("[", "]"), ('[0,{"b":', "}]")):
                inner = opened * (depth - 1) + leaf + closed * (depth - 1)
                text = f'{{"k":{inner}}}'
                try:
                    parse_json(text, "x")
                    read = True
                except InputError:
                    read = False
                assert is_plain_json(text) == read, (depth, leaf, opened)
    assert parse_json('{"a": 1, "a": 1}', "x") == {"a": 1}
    assert not is_plain_json('{"a": 1, "a": 1}')
    assert not is_plain_json("[1]")
