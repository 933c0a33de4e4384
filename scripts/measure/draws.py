"""Are p-values right where draws end early and where they come from a fitted tail? Two tables, as Markdown.

    python scripts/measure/draws.py --out measurements/draws.md     # minutes on one core
    python scripts/measure/draws.py --data-sets 40 --tail-data-sets 1

Exit code 1 if p is not uniform where it must be (Kolmogorov-Smirnov p <= 0.001, of a dozen tests) or a p from a tail is
smaller than it should be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from semconv.system.files import write_text
from semconv.system.markdown import table
from semconv.validation.draw_cases import LEVELS, EarlyEnd, TailLevels, early_ends, rules, tail_levels

MEASURES = ("svcca_variance", "procrustes", "rsa", "cka_unbiased")
DEAR = ("svcca_variance", "procrustes")
DRAWS = (100, 200)


def end_table(found: list[EarlyEnd]) -> str:
    rows = [
        [e.measure, e.rule.most, e.rule.after or "-", e.rule.common, f"{e.rate:.3f}", f"{e.ks_p:.2g}", f"{e.draws:.0f}"]
        for e in found
    ]
    return table(
        ["measure", "most draws", "ends after", "draws that all have", "p <= 0.05", "KS p", "draws taken, mean"], rows
    )


def tail_table(found: list[TailLevels]) -> str:
    names = [f"1/{round(1 / level)}" for level in LEVELS]
    rows = [
        [t.measure, t.draws, f"{t.no_fit:.3f}", *(f"{v:.2f}" for v in t.told), *(f"{v:.2f}" for v in t.fitted)]
        for t in found
    ]
    told, fitted = ([f"{what} {name}" for name in names] for what in ("reported p,", "fitted value,"))
    return table(["measure", "draws", "no fit", *told, *fitted], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=1000, help="of the first table")
    parser.add_argument("--tail-data-sets", type=int, default=5, help="of the second, 20,000 draws each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    ends = [early_ends(m, rule, args.data_sets, args.seed) for m in MEASURES for rule in rules(199, 10, 50)]
    tails = [tail_levels(m, n, args.tail_data_sets, seed=args.seed) for m in DEAR for n in DRAWS]
    text = "\n\n".join(
        [
            "## Draws that end early",
            f"`shuffle` on {args.data_sets} pairs of Gaussian spaces that share nothing.",
            end_table(ends),
            "## p from a fitted tail",
            f"{args.tail_data_sets} pairs of spaces that share nothing, 20,000 draws of each, cut into tests. How "
            "often one more draw gets a p of at most 1/2, 1/5 and 1/10 of the counted one, divided by how often it "
            "should.",
            tail_table(tails),
        ]
    )
    print(text)
    if args.out:
        write_text(args.out, text + "\n")
    wrong = [e for e in ends if e.ks_p <= 0.001] or [t for t in tails if max(t.told) > 1]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
