"""Results made by hand, in the shape of `results.json`, every number in them another one."""

from __future__ import annotations

from itertools import count
from typing import Any

LAYER_PAIRS = ("0x2", "1x2", "1x10")
MEASURES = ("rsa", "svcca_pc1")
NULLS = ("shuffle", "frequency", "rematch")


def results(score: float = 0.61, z: float = 9.0, floor_score: float = 0.34, floor_z: float = 4.0) -> dict[str, Any]:
    """A grid of three layer pairs, the last too small for a score, with one floor and one ceiling at layers 1 x 2.

    Args:
        score: of the trained models at 1 x 2, by every measure.
        z: their distance from the shuffled pairing.
        floor_score: of the untrained twins.
        floor_z: their distance.
    """
    number = (n / 10_000 for n in count(1003, 7))  # four digits, never the same twice

    def test() -> dict[str, Any]:
        return {key: next(number) for key in ("score", "mean", "sd", "z", "calibrated", "p", "q", "q_by")}

    def measured(value: float | None = None, at: float | None = None) -> dict[str, Any]:
        nulls = {null: test() for null in NULLS}
        if at is not None:
            nulls["shuffle"]["z"] = at
        return {
            "score": next(number) if value is None else value,
            "saturated": False,
            "interval": [next(number), next(number)],
            "nulls": nulls,
        }

    def layer_pair(key: str, value: float | None = None, at: float | None = None) -> dict[str, Any]:
        layer_a, layer_b = key.split("x")
        return {
            "layer_a": int(layer_a),
            "layer_b": int(layer_b),
            "sae_a": layer_a,
            "sae_b": layer_b,
            "pairs": 200 + int(layer_b) + 10 * int(layer_a),
            "mean_r": next(number),
            "filters": [
                {"step": "both features vary", "before": 512, "after": 500 + int(layer_a)},
                {"step": "r > 0.1", "before": 500 + int(layer_a), "after": 200 + int(layer_b) + 10 * int(layer_a)},
            ],
            "undefined_a": 11,
            "undefined_b": 12,
            "noisy_features_a": 13,
            "noisy_features_b": 14,
            "split_half": {"features": 431, "same_partner": round(1 - next(number), 4), "r_reliability": next(number)},
            "measures": {name: measured(value, at) for name in MEASURES},
        }

    grid = {"0x2": layer_pair("0x2"), "1x2": layer_pair("1x2", score, z), "1x10": layer_pair("1x10")}
    grid["1x10"]["measures"] = {name: {"reason": f"7 pairs are too few for {name}"} for name in MEASURES}

    def over_the_grid() -> dict[str, Any]:
        best = {"score": next(number), "null_mean": next(number), "p": next(number)}
        of_null = {
            "layer_pairs": 2,
            "significant": 1,
            "significant_by": 0,
            "smallest_q": 0.0021,
            "largest_p": next(number),
        }
        more = {"mean": next(number), "best_calibrated": next(number), "best_of_grid": best}
        return {
            "layer_pairs": 2,
            "best_layer_pair": "1x2",
            "best_score": score,
            "best_interval": [next(number), next(number)],
            "mean_score": next(number),
            "nulls": {null: {**of_null, **more} for null in NULLS},
        }

    def category(pairs: int) -> dict[str, Any]:
        scored = {"score": next(number), "nulls": {"shuffle": test()}}
        return {"features_a": 21, "features_b": 22, "pairs": pairs, "measures": {"rsa": scored}}

    small = {"features_a": 2, "features_b": 3, "pairs": 0, "measures": {}, "reason": "2 features on one side"}
    self_match = {"features": 77, "found_itself": 0.9987, "lowest_r": next(number)}

    def fit() -> dict[str, Any]:
        loss = {"tokens": 2052, "clean": 3.5, "sae": 3.75, "zero": 8.5, "recovered": next(number)}
        share = round(1 - next(number), 4)
        return {"tokens": 8203, "explained_variance": share, "explained_variance_with_sinks": share, "loss": loss}

    digest = count(1)

    def sae(layer: int, **changes: Any) -> dict[str, Any]:
        made = {
            "layer": layer,
            "hook": f"blocks.{layer}.hook_resid_post",
            "head": None,
            "hook_out": None,
            "architecture": "jumprelu",
            "n_features": 512,
            "l0": next(number),
            "dead_share": 0.125,
            "sinks": 0,
            "sinks_norm_share": 0.0,
            "activations_sha256": f"{next(digest):064x}",
            "fit": fit(),
            "remarks": [],
        }
        return {**made, **changes}

    def step(name: str) -> dict[str, Any]:
        scored = {"score": next(number), "null_mean": next(number), "p": next(number)}
        return {"step": name, "pairs": 345, "svcca": scored, "rsa": {"reason": "too few for RSA"}}

    return {
        "suite": "made-up",
        "suite_sha256": "a" * 64,
        "warnings": [],
        "null": {"n_permutations": 1234, "n_rematch": 56, "n_bootstrap": 7, "seed": 99},
        "corpus": {
            "n_tokens": 123456,
            "n_documents": 1789,
            "n_spans": None,
            "context": 257,
            "tokens_sha256": "b" * 64,
            "rows": "packed",
            "n_rows": 543,
            "bos_rule": "rows begin with <s> (tokenizer_config.json)",
            "separator_rule": "documents are closed by </s>",
            "skip_positions": 0,
            "excluded": {"bos": 543, "eos": 1788, "padding": 21, "skipped": 0, "control": 0},
            "documents": 1801,
            "documents_read": 1790,
            "documents_cut": 1,
            "tokens_left_out": 0,
            "tokenizer": "BPE of 4096 tokens, tokenizer.json",
            "files_ignored": 0,
            "sinks": {"multiple": 10.0, "excluded": False, "positions_a": 0, "positions_b": 0, "spans": 0},
            "b": None,
        },
        "read": {
            "controls": {
                "untrained": {"a": fit(), "b": {"reason": "it predicts nothing"}},
                "other SAE": {"a": fit(), "b": fit()},
            },
            "versions": {"torch": "2.99.1", "transformers": "5.98.2", "sae-lens": "6.97.3", "tokenizers": "0.96.4"},
        },
        "model_a": {"name": "small", "saes": {"0": sae(0), "1": sae(1)}},
        "model_b": {"name": "large", "saes": {"2": sae(2), "10": sae(10)}},
        "grid": grid,
        "summary": {name: over_the_grid() for name in MEASURES},
        "controls": {
            "self_match": {"small/0": {**self_match, "scores": {"rsa": 1.0, "svcca_pc1": None}}},
            "pairs": {
                "untrained": {
                    "kind": "floor",
                    "model_a": "small-untrained",
                    "model_b": "large-untrained",
                    **layer_pair("1x2", floor_score, floor_z),
                },
                "other SAE": {
                    "kind": "ceiling",
                    "model_a": "small",
                    "model_b": "small-other",
                    **layer_pair("1x1", 0.97, 30.0),
                },
            },
            "strongest": {"untrained": {"floor": layer_pair("1x2"), "trained": layer_pair("1x2")}},
        },
        "published": {"layer_a": 1, "layer_b": 2, "steps": [step("as published"), step("exact Pearson r")]},
        "subspaces": {
            "categories": "made up",
            "rule": "equals",
            "grid": {key: {"Time": category(31), "Nature": category(32), "Rare": small} for key in ("0x2", "1x2")},
            "relations": {
                "0x2": {
                    "categories": ["Time", "Nature", "Rare"],
                    "rho": next(number),
                    "p": next(number),
                    "exact": True,
                },
                "1x2": {"reason": "at least 3 categories"},
            },
        },
        "spans": {
            "kind": "sentences",
            "how": "max",
            "n_spans": 98765,
            "mean_length": 12.34,
            "grid": {
                "0x2": {"pairs": 88, "measures": {name: measured() for name in MEASURES}},
                "1x2": {"pairs": 3, "measures": {}, "reason": "3 pairs, at least 50 are needed"},
                "1x10": {"pairs": 89, "measures": {"rsa": measured(), "svcca_pc1": {"reason": "it refuses"}}},
            },
        },
    }


LABELS_A = {"0": "2.mlp_out", "1": "2.res-16k"}
LABELS_B = {"2": "5", "10": "5.width_131k"}


def labelled() -> dict[str, Any]:
    """The same results of SAEs that have labels, two at one block of either model."""
    keys = {f"{a}x{b}": f"{LABELS_A[a]} x {LABELS_B[b]}" for a, b in (key.split("x") for key in LAYER_PAIRS)}
    layers = {"layer_a": 2, "layer_b": 5}

    def renamed(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {keys.get(key, key): renamed(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [renamed(inner) for inner in value]
        labels = {"sae_a": LABELS_A, "sae_b": LABELS_B | LABELS_A, "best_layer_pair": keys}.get(name, {})
        return layers.get(name, labels.get(value, value))

    made = renamed(results())
    for model, labels, layer in (("model_a", LABELS_A, 2), ("model_b", LABELS_B, 5)):
        made[model]["saes"] = {
            labels[old]: {**sae, "layer": layer} for old, sae in made[model]["saes"].items() if old in labels
        }
    return made
