"""What matching by r within tokens leaves of a finished run of the mini suite, beside matching by r over all positions.

    python scripts/measure/match_by.py runs/mini --layers 2x4 3x6 --draws 19

For every layer pair: feature pairs after every filter by either, RSA of them, how many pairs both have; and, by r
within tokens, RSA of the strongest pairs beside exchanges of `same_token`, which match by it again. Prints Markdown.
The filter on strongest positions asks for r over all positions; `--all-positions` leaves it out of both.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from semconv.compare import RSA
from semconv.core.correlate import BestMatches
from semconv.matching.filters import FeaturePairs
from semconv.models.roles import ModelOnText, Roles
from semconv.pipeline.encoded_sides import stored_sides
from semconv.pipeline.reproduce import Run, load_corpus
from semconv.pipeline.stored_saes import open_stores
from semconv.statistics.permutation import p_value
from semconv.statistics.token_swaps import TokenSwaps
from semconv.study.nulls import ranked_pairs, score_strongest, swapped
from semconv.study.sides import Side, best_of, key_of, match_sides, scores_of
from semconv.suite.config import MatchConfig, load_suite
from semconv.system.markdown import table

COLUMNS = ["layers", "pairs by r", "RSA", "pairs within tokens", "RSA", "pairs in both"]
BESIDE = ["strongest pairs", "RSA of these", "`same_token`", "its sd", "its p"]
_MEASURES = [RSA()]


def row_of(a: Side, b: Side, config: MatchConfig, swaps: TokenSwaps, draws: int) -> list[str]:
    """Returns a row of the table; `config` is that of the suite."""
    within = replace(config, by="r_within_token")
    matches = best_of(a, b, within)
    by_r, by_within = match_sides(a, b, config), match_sides(a, b, within, matches)
    pairs = [set(zip(one.a.tolist(), one.b.tolist(), strict=True)) for one in (by_r, by_within)]
    cells = [key_of(a, b)]
    for one in (by_r, by_within):
        cells += [str(len(one)), f"{scores_of(_MEASURES, a, b, one.a, one.b)[0]:.4f}"]
    return [
        *cells,
        str(len(pairs[0] & pairs[1])),
        *_beside(a, b, within, swaps, draws, matches=matches, pairs=by_within),
    ]


def _beside(
    a: Side, b: Side, config: MatchConfig, swaps: TokenSwaps, draws: int, *, matches: BestMatches, pairs: FeaturePairs
) -> list[str]:
    if not draws:
        return []
    again = swapped(a, b, config, swaps.draws(0, range(draws))).ranked
    true = ranked_pairs(matches, a, b, config)
    n = min(len(pairs), len(true[0]), *(len(one[0]) for one in again))
    score = float(score_strongest(_MEASURES, a, b, true, n)[0])
    null = np.array([score_strongest(_MEASURES, a, b, one, n)[0] for one in again])
    return [str(n), f"{score:.4f}", f"{null.mean():.4f}", f"{null.std(ddof=1):.4f}", f"{p_value(score, null):.3f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run of the mini suite")
    parser.add_argument("--layers", nargs="*", default=[], help="such as 2x4 (default: all)")
    parser.add_argument("--draws", type=int, default=0, help="of same_token (default: 0, no such columns; 2 at least)")
    parser.add_argument("--all-positions", action="store_true", help="without match.without_strongest")
    options = parser.parse_args()
    suite = load_suite("mini")
    run = Run(suite, options.run)
    run.read_places()
    blocks = load_corpus(run).blocks
    models = Roles(ModelOnText(suite.model_a, blocks), ModelOnText(suite.model_b, blocks))
    sides = stored_sides(run, run.workplace(), open_stores(run, models))
    config = replace(suite.match, without_strongest=0) if options.all_positions else suite.match
    swaps, rows = TokenSwaps.of(blocks), list[list[str]]()
    for a, b in ((a, b) for a in sides.a for b in sides.b):
        if not options.layers or key_of(a, b) in options.layers:
            rows.append(row_of(a.read(), b.read(), config, swaps, options.draws))
    print(table([*COLUMNS, *(BESIDE if options.draws else [])], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
