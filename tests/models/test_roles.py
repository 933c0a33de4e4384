"""Which models of a suite share one forward pass over the text."""

from __future__ import annotations

from dataclasses import replace

import torch

from semconv.models.roles import same_pass, suite_models
from semconv.suite.config import SuiteConfig, load_suite
from semconv.text.token_blocks import TokenBlocks


def a_text(first: int = 3) -> TokenBlocks:
    ids = torch.arange(first, first + 12, dtype=torch.int32).reshape(2, 6)
    mask = torch.ones_like(ids, dtype=torch.bool)
    mask[:, 0] = False
    return TokenBlocks(ids, mask, torch.where(mask, 0, -1).int())


def passes(suite: SuiteConfig, blocks: tuple[TokenBlocks, TokenBlocks]) -> list[list[tuple[str, int]]]:
    """The names of the models of each pass, with how many positions count."""
    groups = same_pass(suite_models(suite, blocks))
    return [[(one.model.name, one.blocks.n_tokens) for one in group] for group in groups]


def test_models_of_the_same_weights_share_a_pass_whatever_counts():
    suite, text = load_suite("mini"), a_text()
    found = passes(suite, (text, text))
    small = next(group for group in found if group[0] == ("small", 10))
    assert ("small-as-published", 12) in small
    assert all(name.startswith("small") and "untrained" not in name for name, _ in small)
    twins = [group for group in found if "untrained" in group[0][0]]
    assert all(len(group) == 1 for group in twins)
    assert len(found) == 2 + len(twins)


def test_another_text_or_another_reading_is_another_pass():
    suite = load_suite("mini")
    alone = replace(suite, controls=())
    assert len(passes(alone, (a_text(), a_text(40)))) == 3  # as published, B reads the text of A
    text = a_text()
    both_ways = replace(alone, model_a=replace(alone.model_a, bidirectional=True))
    assert len(passes(both_ways, (text, text))) == 3  # positions that do not count are not read
