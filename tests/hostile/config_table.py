"""Every hostile config, cache and number, by kind."""

from __future__ import annotations

from tests.hostile.config_models import MODELS
from tests.hostile.config_runs import CACHES, NUMBERS, RUNS, VERIFIED
from tests.hostile.config_saes import SAES
from tests.hostile.config_tokenizers import TOKENIZERS

TABLE = {
    "models": MODELS,
    "tokenizers": TOKENIZERS,
    "SAEs": SAES,
    "runs": RUNS,
    "caches": CACHES,
    "verified": VERIFIED,
    "numbers": NUMBERS,
}
"""Every hostile input of this module, by kind."""
