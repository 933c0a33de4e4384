"""What probes measured, kept in the user's cache by machine, version and sizes, or in a file of the user's own."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from semconv.planning.cost_model import measures_to_draw
from semconv.planning.plan import Planner
from semconv.planning.probe import machine_in_words, probe, sizes_of
from semconv.planning.rates import Rates
from semconv.runs.run import Progress
from semconv.runs.task_cache import code_sha256
from semconv.system.digests import sha256_of
from semconv.system.errors import InputError
from semconv.system.file_hashes import cache_folder
from semconv.system.files import write_json
from semconv.system.json_toml import read_json
from semconv.system.shape import read_as


def _file(planner: Planner, device: torch.device) -> Path | None:
    """Returns where the rates of a suite on this machine are kept; None for a user without a cache."""
    folder, suite, shapes = cache_folder(), planner.suite, planner.shapes
    sizes = asdict(sizes_of(suite, shapes, planner.pairs))
    saes = sorted(f"{sae.width}x{sae.n_features}" for sae in shapes.saes.values())
    compare, encode = asdict(suite.compare), asdict(suite.encode)
    of_suite = [sizes, sorted(shapes.models), saes, measures_to_draw(suite), compare, encode, suite.corpus.context]
    key = sha256_of(json.dumps([machine_in_words(device), code_sha256(), of_suite], sort_keys=True))
    return folder.parent / "probes" / f"{suite.name}-{key[:16]}.json" if folder else None


def kept_rates(planner: Planner, device: torch.device) -> Rates | None:
    """Returns what a probe of this suite measured on this machine with this version; None if none was made."""
    file = _file(planner, device)
    with suppress(InputError):  # missing or damaged
        return read_rates(file) if file is not None and file.is_file() else None
    return None


def read_rates(file: Path) -> Rates:
    """Reads rates that `write_json` wrote.

    Raises:
        InputError: the file is missing, or holds something else.
    """
    return read_as(Rates, read_json(file, f"probe {file} does not exist"), str(file))


def rates_of(planner: Planner, device: torch.device, progress: Progress, own: Path | None = None) -> Rates:
    """Returns the rates of a suite on this machine: those in a file, those that are kept, or measured now and kept.

    Args:
        planner: of the suite.
        device: that encodes and correlates.
        progress: told what is measured.
        own: file of the user that is read, or made if it is not there.

    Raises:
        InputError: `own` holds something else, or the probe does not fit into memory.
    """
    if own is not None and own.exists():
        return read_rates(own)
    known = kept_rates(planner, device) if own is None else None
    if known is not None:
        return known
    rates = probe(planner.suite, planner.shapes, planner.pairs, device, progress)
    file = own or _file(planner, device)
    if own is not None:
        write_json(own, asdict(rates))
    elif file is not None:
        with suppress(OSError):  # a read-only or full disk: the probe is then made at every call
            write_json(file, asdict(rates))
    return rates
