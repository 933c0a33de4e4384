"""`python -m semconv` for the rehearsal's scale `least`, whose SAEs are smaller than those of Gemma Scope.

sae-lens knows the shapes of Gemma Scope by heart and does not read them from the files; here it is told those of this
scale. Nothing else is other than in a rehearsal with real shapes.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from rehearsal_world import SCALES
from sae_lens.loading import pretrained_sae_loaders as loaders

LEAST = SCALES["least"]
NAME = "get_gemma_2_config_from_hf"


def with_shapes(config: dict[str, Any]) -> dict[str, Any]:
    """Returns what sae-lens says of an SAE of Gemma Scope, with the shapes of this scale."""
    a, b = LEAST.shapes
    d_in = (a if "2b" in config["model_name"] else b).hidden_size
    return {**config, "d_in": d_in, "d_sae": LEAST.features}


def main() -> None:
    given = getattr(loaders, NAME)

    @wraps(given)
    def least(*arguments: Any, **settings: Any) -> dict[str, Any]:
        return with_shapes(given(*arguments, **settings))

    setattr(loaders, NAME, least)
    for name, getter in loaders.NAMED_PRETRAINED_SAE_CONFIG_GETTERS.items():
        if getter is given:
            loaders.NAMED_PRETRAINED_SAE_CONFIG_GETTERS[name] = least
    from semconv.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
