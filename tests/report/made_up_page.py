"""What a run folder holds beside its results, made by hand: pairs, contexts and draws, nasty text included."""

from __future__ import annotations

from typing import Any

import numpy as np

from semconv.report.explorer_data import Tables
from semconv.report.page_data import Draws
from semconv.results.claims import Checked, Claim
from tests.report.made_up import LABELS_A, LABELS_B, NULLS

NASTY = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "\"'&<!--", "\x00\x1b\u202e\u2028", "it"]
LINK = "https://www.neuronpedia.org/model/1-res/5"


def pairs(n: int = 40) -> list[dict[str, Any]]:
    """Pairs at two layer pairs, r falling from 0.99; the first pairs are of nasty tokens."""
    return [
        {
            "layer_a": place % 2,
            "layer_b": 2,
            "sae_a": str(place % 2),
            "sae_b": "2",
            "feature_a": 100 + place,
            "feature_b": 500 + place,
            "r": 0.99 - place / 100,
            "top_tokens_a": [NASTY[place % len(NASTY)], f"word{place}", f"word{place}"],
            "top_tokens_b": [f"word{place}"],
            "link_a": LINK if place == 0 else "javascript:alert(3)" if place == 1 else None,
            "link_b": None,
        }
        for place in range(n)
    ]


def contexts(n: int = 40) -> list[dict[str, Any]]:
    """Two contexts of every feature of A, one of B's."""
    rows: list[dict[str, Any]] = []
    for pair in pairs(n):
        for side, count in (("a", 2), ("b", 1)):
            rows += [
                {
                    "side": side,
                    "layer": pair[f"layer_{side}"],
                    "sae": pair[f"sae_{side}"],
                    "feature": pair[f"feature_{side}"],
                    "rank": rank,
                    "document": 7,
                    "before": f"before{pair['feature_a']} \n",
                    "token": pair[f"top_tokens_{side}"][0],
                    "after": NASTY[1],
                    "activation": 8.0 / (1 + rank),
                }
                for rank in range(count)
            ]
    return rows


def tables(n: int = 40) -> Tables:
    """Both tables."""
    return Tables(pairs(n), contexts(n))


def labelled_tables(n: int = 40) -> Tables:
    """The same tables of SAEs that have labels, those of `made_up.labelled`."""
    of_pairs = [{**pair, "sae_a": LABELS_A[pair["sae_a"]], "sae_b": LABELS_B[pair["sae_b"]]} for pair in pairs(n)]
    of_side = {"a": LABELS_A, "b": LABELS_B}
    return Tables(of_pairs, [{**row, "sae": of_side[row["side"]][row["sae"]]} for row in contexts(n)])


def draws(results: dict[str, Any]) -> Draws:
    """Draws of every null of every score, normal about a mean of its own."""
    rng = np.random.default_rng(0)
    return {
        f"{key}.{null}.{measure}": rng.normal(0.01, 0.02, 100)
        for key, cell in results["grid"].items()
        for measure, scored in cell["measures"].items()
        if "score" in scored
        for null in NULLS
        if null in scored["nulls"]
    }


def claims(suite: str = "made-up") -> list[Checked]:
    """One claim that holds, one that fails, one of another suite."""
    made = [
        Claim(f"T{i}", f"Statement {i} <b>.", "tests", of, "summary", "at least", 0.5)
        for i, of in enumerate((suite, suite, "elsewhere"))
    ]
    return [Checked(made[0], 0.75, "pass"), Checked(made[1], 0.25, "FAIL"), Checked(made[2], None, "not run")]


def large(layers_a: int = 26, layers_b: int = 42) -> dict[str, Any]:
    """Results of a grid as large as that of Gemma-2-2B and 9B."""
    from copy import deepcopy

    from tests.report.made_up import results

    made = results()
    cell = made["grid"]["0x2"]
    made["grid"] = {
        f"{a}x{b}": {
            **deepcopy(cell),
            "layer_a": a,
            "layer_b": b,
            "sae_a": str(a),
            "sae_b": str(b),
            "pairs": 100 + a + b,
        }
        for a in range(layers_a)
        for b in range(layers_b)
    }
    for model, n in ((made["model_a"], layers_a), (made["model_b"], layers_b)):
        model["saes"] = {str(layer): {**model["saes"][min(model["saes"])], "layer": layer} for layer in range(n)}
    for summary in made["summary"].values():
        summary["best_layer_pair"] = "1x2"
    for section in ("subspaces", "spans"):
        one = made[section]["grid"]["0x2"]
        made[section]["grid"] = dict.fromkeys(made["grid"], one)
    made["subspaces"]["relations"] = dict.fromkeys(made["grid"], made["subspaces"]["relations"]["0x2"])
    return made
