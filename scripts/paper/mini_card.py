"""The model card of the mini models and their SAEs, as Markdown; `train_mini.py card` writes it."""

from __future__ import annotations

from sae_training import SAE


def card_text(card: dict, vocabulary: int) -> str:
    """Returns the model card, from the table in card.json and the number of tokens of the tokenizer."""
    lines = [
        "# Model card: the mini models and their SAEs",
        "",
        "Two causal language models of the Gemma-2 architecture that share one byte-level BPE tokenizer of "
        f"{vocabulary:,} tokens, trained for this project on the train split of the mini corpus (English docstrings "
        "of pinned Python packages), and JumpReLU SAEs of their residual streams. They exist to exercise the whole "
        "path of semconv on real text; they are good for nothing else. Made by "
        "`python scripts/paper/train_mini.py` (CPU, about an hour and a half on two cores); this file by its last "
        "stage, `python scripts/paper/train_mini.py card`.",
        "",
        f"Held-out loss in nats per token over {card['heldout_tokens']:,} tokens of held-out documents:",
        "",
        "| model | non-embedding parameters | d_model | layers | training tokens | held-out loss |",
        "|---|---|---|---|---|---|",
    ]
    for name, model in card["models"].items():
        lines.append(
            f"| {name} | {model['non_embedding_parameters']:,} | {model['d_model']} | {model['n_layers']} | "
            f"{model['train_tokens']:,} | {model['heldout_loss']:.3f} |"
        )
    lines += [
        f"| interpolated bigram | | | | whole train split | {card['baselines']['bigram']:.3f} |",
        f"| unigram | | | | whole train split | {card['baselines']['unigram']:.3f} |",
        "",
        "Docstrings repeat phrases between functions, and the split is by whole document and not by phrase, so the "
        "held-out loss is lower than on unrelated text. The baselines see the same text.",
        "",
        f"SAEs, measured on {SAE.heldout_samples:,} held-out positions (BOS, EOS and padding left out), trained as "
        "BatchTopK by sae-lens's own trainer and stored as JumpReLU in float16:",
        "",
        "| model | hook | width | realised L0 | explained variance | never active |",
        "|---|---|---|---|---|---|",
    ]
    for name, model in card["models"].items():
        for hook, sae in model["saes"].items():
            lines.append(
                f"| {name} | `{hook}` | {sae['d_sae']} | {sae['l0']:.1f} | {sae['explained_variance']:.3f} | "
                f"{100 * sae['dead_share']:.1f}% |"
            )
    lines += [
        "",
        "Controls, trained and measured by the same recipe on the same text. `-untrained`: the SAE of the model's "
        "untrained twin, whose weights are drawn from a seed and have learned nothing. `-untrained-blocks`: of a twin "
        "whose blocks alone are drawn, from seed 0 or 1, and whose embeddings are the model's. `.seed1` and `.seed2`: "
        "the trained model's stream again, with another seed for the start of the SAE and the order of its data. Made "
        "by `python scripts/paper/train_mini.py controls` in about an hour on one core.",
        "",
        "| SAE | width | realised L0 | explained variance | never active |",
        "|---|---|---|---|---|",
    ]
    for folder, sae in card["controls"].items():
        lines.append(
            f"| `{folder}` | {sae['d_sae']} | {sae['l0']:.1f} | {sae['explained_variance']:.3f} | "
            f"{100 * sae['dead_share']:.1f}% |"
        )
    return "\n".join(lines) + "\n"
