"""Imports sae-lens, whose imports change loggers and warning filters, and restores these."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings


def import_sae_lens() -> None:
    """Imports sae-lens once, and leaves the levels of all loggers and the filters of warnings as they were.

    It imports transformer-lens, which silences transformers' report on weights that a checkpoint lacks. Every function
    that needs sae-lens calls this first; its own import then finds it loaded.
    """
    if "sae_lens" in sys.modules:
        importlib.import_module("sae_lens")  # waits for a thread that is still at it
        return
    known = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    levels = {logger: logger.level for logger in [logging.root, *known]}
    importlib.import_module("transformers")  # so that its logger is among them
    levels.setdefault(logging.getLogger("transformers"), logging.getLogger("transformers").level)
    with warnings.catch_warnings():
        importlib.import_module("sae_lens")
    for logger, level in levels.items():
        logger.setLevel(level)
