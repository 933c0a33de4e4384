"""Tokens that two vocabularies share."""

from __future__ import annotations

import pytest

from semconv import InputError
from semconv.text.shared_tokens import SharedTokens, shared_tokens


def test_tokens_of_the_same_text_once_each_white_space_included():
    found = shared_tokens(["", " a", "a", "\ufffd", "\ufffd", "b", "c"], ["c", "\ufffd", "a", "  a", "", "b"], fewest=1)
    assert (found.a.tolist(), found.b.tolist()) == ([2, 5, 6], [2, 5, 0])
    assert (found.n_a, found.n_b, len(found)) == (4, 5, 3)


def test_too_few_are_refused_with_their_number():
    with pytest.raises(InputError, match="at least 100; these share 1 of 2 and 1"):
        shared_tokens(["a", "b"], ["a"])


def test_one_vocabulary_shares_all_with_itself():
    assert SharedTokens.same(3).a.tolist() == SharedTokens.same(3).b.tolist() == [0, 1, 2]
