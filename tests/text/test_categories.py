"""Categories: files that are refused, the rule by which a feature belongs, and lists that fit their tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semconv import InputError
from semconv.text.keywords import CATEGORIES, Categories, category_names, features_of, load_categories, overlaps

PUBLISHED = ["Time", "Calendar", "People/Roles", "Nature", "Emotions", "MonthNames", "Countries", "Biology"]

FILE = """
name = "mine"
rule = "equals"
[keywords]
Colour = ["red", "green"]
Fruit = ["apple", "green"]
"""


def test_every_shipped_list_loads():
    assert category_names() == ["mini", "published"]
    for name in category_names():
        categories = load_categories(name)
        assert categories.name == name
        assert all(12 <= len(words) <= 40 for words in categories.keywords.values())
    assert list(load_categories("published").keywords) == PUBLISHED
    assert load_categories("published").rule == "contains"
    assert load_categories("mini").rule == "equals"


def test_every_mini_keyword_is_one_token():
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(CATEGORIES.parent / "mini" / "tokenizer.json"))
    texts = {tokenizer.decode([i]).strip().lower() for i in range(tokenizer.get_vocab_size())}
    words = {word for words in load_categories("mini").keywords.values() for word in words}
    assert words - texts == set()


def test_published_keywords_leave_out_words_inside_others():
    # The header of the file names these; `contains` would take them for something else.
    categories = load_categories("published")
    for text in ("making", "average", "street", "revolution", "signature", "driver", "general", "decide"):
        assert categories.of_token(text) == frozenset(), text
    assert categories.of_token(" Mondays") == {"Calendar"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rule", "rules", "unknown key 'rules' in mine.toml; known are name, description, rule, keywords"),
        ('rule = "equals"', "", "mine.toml is incomplete: 'rule' is missing"),
        ('"equals"', '"is"', "categories mine: rule must be contains or equals, got 'is'"),
        ('"equals"', "3", "rule in mine.toml must be text, got 3"),
        ('["red", "green"]', "[]", "category 'Colour' of mine needs at least one keyword, got none"),
        ('["red", "green"]', '["red", "green", "red"]', "keyword 'red' stands twice in category 'Colour' of mine"),
        ('["red", "green"]', '"red"', "category 'Colour' in mine.toml must be a list of words, got 'red'"),
        ('["red", "green"]', '["red", 3]', "category 'Colour' in mine.toml must be a list of words"),
        ('"red"', '"Red"', "lower-case and without white space around them, got 'Red' in category 'Colour' of mine"),
        ('"red"', '" red"', "white space around them, got ' red' in category 'Colour'"),
        ('"red"', '""', "white space around them, got '' in category 'Colour'"),
        ("[keywords]", "[keywords.x]", "category 'x' in mine.toml must be a list of words"),
        ("[keywords]", "[keywords", "is not TOML"),
        ('name = "mine"', 'name = "mine"\ndescription = 3', "description in mine.toml must be text, got 3"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, old: str, new: str, message: str):
    assert old in FILE
    path = tmp_path / "mine.toml"
    path.write_text(FILE.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load_categories(path)


def test_unknown_names_and_empty_tables_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="unknown categories 'mimi'; there are mini, published"):
        load_categories("mimi")
    with pytest.raises(InputError, match="does not exist"):
        load_categories("none.toml")
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nrule = "equals"\n[keywords]\n')
    with pytest.raises(InputError, match="categories mine need at least one category, got none"):
        load_categories(path)


def test_a_keyword_may_stand_in_two_categories(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    categories = load_categories(path)
    assert categories.of_token(" Green\n") == {"Colour", "Fruit"}
    assert categories.of_token("evergreen") == frozenset()
    assert Categories("mine", "contains", categories.keywords).of_token("evergreens") == {"Colour", "Fruit"}


def test_features_of_a_category_and_what_they_share():
    categories = Categories("mine", "equals", {"Colour": ("red", "green"), "Fruit": ("apple", "green"), "No": ("x",)})
    members = features_of(categories, [["sky", " Red"], [], ["green"], ["apples"], ["apple", "red"]])
    assert {name: features.tolist() for name, features in members.items()} == {
        "Colour": [0, 2, 4],
        "Fruit": [2, 4],
        "No": [],
    }
    assert all(features.dtype == np.int64 for features in members.values())
    assert overlaps(members).tolist() == [[3, 2, 0], [2, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize("rule", ["contains", "equals"])
def test_features_equal_the_rule_read_one_token_at_a_time(rule: str):
    g = np.random.default_rng(0)
    texts = ["an", " An", "ant", "plant ", "PLAN", "\nhat", "that", "x"]
    tokens = [[texts[i] for i in g.integers(0, len(texts), 2)] for _ in range(50)]
    keywords = {"one": ("pla", "an"), "two": ("plan",), "three": ("ant", "that")}
    found = features_of(Categories("c", rule, keywords), tokens)  # pyright: ignore
    for name, words in keywords.items():
        wanted: list[int] = []
        for feature, row in enumerate(tokens):
            bare = [text.strip().lower() for text in row]
            if any((word in text) if rule == "contains" else (word == text) for word in words for text in bare):
                wanted.append(feature)
        assert found[name].tolist() == wanted
        assert 0 < len(wanted) < 50


def test_the_hash_sees_rule_and_keywords_and_nothing_else():
    one = Categories("c", "equals", {"a": ("x", "y")})
    assert Categories("d", "equals", {"a": ("x", "y")}, "text").sha256 == one.sha256
    for other in (Categories("c", "contains", {"a": ("x", "y")}), Categories("c", "equals", {"a": ("x",)})):
        assert other.sha256 != one.sha256
