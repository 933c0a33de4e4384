"""Makes a suite of two models that a user names on the command line, each with SAEs of theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semconv.config import AlignConfig, CompareConfig, CorpusConfig, ModelConfig, NullConfig, SaeConfig, SuiteConfig
from semconv.model_activations import hook_name
from semconv.sources import HUB, model_folder
from semconv.types import InputError

_LAYER = re.compile(r"(?:blocks\.|layer_|layers?[._])(\d+)")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def model_of(name: str, where: str, saes: Sequence[str]) -> ModelConfig:
    """Returns a model and its SAEs.

    Args:
        name: short name.
        where: a folder in transformers' format, or OWNER/NAME on the hub, with `@COMMIT` to pin it.
        saes: each a folder in sae-lens's format, or RELEASE:SAE_ID; the layer is read from its config or its name, or
            follows as `@LAYER`.

    Raises:
        InputError: neither a folder nor a repository, or an SAE whose layer cannot be told.
    """
    place, _, revision = where.partition("@")
    if Path(where).is_dir():
        place, revision = where, ""
    elif _REPOSITORY.fullmatch(place):
        place = HUB + place
    else:
        raise InputError(f"model {where!r} is neither a folder nor OWNER/NAME of the hub")
    return ModelConfig(name, place, tuple(_sae_of(sae) for sae in saes), revision)


def _sae_of(given: str) -> SaeConfig:
    where, _, layer = given.rpartition("@") if re.search(r"@\d+$", given) else (given, "", "")
    if Path(where).is_dir():
        return SaeConfig(hook_name(int(layer) if layer else _layer_of_folder(Path(where))), where)
    release, _, sae_id = where.partition(":")
    if not sae_id:
        raise InputError(f"SAE {given!r} is neither a folder nor RELEASE:SAE_ID")
    loader = "sparsify" if release.startswith("EleutherAI/") else ""
    return SaeConfig(
        hook_name(int(layer) if layer else _layer_in(sae_id)), release=release, sae_id=sae_id, loader=loader
    )


def _layer_of_folder(folder: Path) -> int:
    try:
        config: Any = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        named = str((config.get("metadata") or {}).get("hook_name") or config.get("hook_name") or "")
    except (OSError, ValueError, AttributeError):
        named = ""
    return _layer_in(named if _LAYER.search(named) else folder.name)


def _layer_in(name: str) -> int:
    found = _LAYER.search(name)
    if found is None:
        raise InputError(f"the layer of SAE {name!r} cannot be told from its name; add it as @LAYER")
    return int(found[1])


def tokenizer_of(model: ModelConfig) -> Path:
    """Returns the tokenizer file that lies beside a model.

    Raises:
        InputError: there is none.
    """
    file = model_folder(model) / "tokenizer.json"
    if not file.is_file():
        raise InputError(f"model {model.name} has no tokenizer.json; name the one both share with --tokenizer")
    return file


def check_same_tokenizer(a: ModelConfig, b: ModelConfig) -> Path:
    """Returns the tokenizer file of A after checking that B's gives the same ids to the same tokens.

    Raises:
        InputError: a model without `tokenizer.json`, or tokenizers that differ.
    """
    from tokenizers import Tokenizer

    files = [tokenizer_of(model) for model in (a, b)]
    one, other = (Tokenizer.from_file(str(file)).get_vocab() for file in files)
    if one != other:
        differing = sum(other.get(token) != number for token, number in one.items())
        raise InputError(
            f"the tokenizers of the two models differ in {differing} of {len(one)} tokens, and features are correlated "
            "token by token; --align max pools them over spans of text that both share"
        )
    return files[0]


def suite_of_pair(
    models: tuple[ModelConfig, ModelConfig],
    text: Path,
    tokenizer: Path | None,
    align: str | None,
    column: str,
    context: int,
    max_tokens: int,
    rematches: int,
) -> SuiteConfig:
    """Returns the suite that compares two models on a user's own text.

    Raises:
        InputError: what `check_same_tokenizer` refuses when no tokenizer is named, or settings out of range.
    """
    a, b = models
    brought = AlignConfig(str(tokenizer_of(b)), how=align) if align is not None else None  # pyright: ignore
    shared = tokenizer or (check_same_tokenizer(a, b) if brought is None else tokenizer_of(a))
    corpus = CorpusConfig("file", str(shared), context, max_tokens, split="all", path=str(text), column=column)
    measures = ("svcca_pc1", "svcca_fixed_k", "rsa", "cka_unbiased", "procrustes", "mutual_knn")
    null = NullConfig(n_rematch=rematches, n_bootstrap=10 if rematches else 0)
    compare = CompareConfig(measures)
    return SuiteConfig(
        f"{a.name}-{b.name}", "A user's own pair.", corpus, a, b, compare=compare, null=null, align=brought
    )
