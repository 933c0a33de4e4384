"""Finds the store of an SAE by its identity, in the run folder or in a folder that several runs share."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from semconv.core.activation_store import StoreIdentity, stored_identity
from semconv.runs.run import Run
from semconv.suite.config import ModelConfig, SaeConfig
from semconv.system.files import only_writer


def find_store(run: Run, model: ModelConfig, sae: SaeConfig, identity: StoreIdentity) -> Path:
    """Returns the folder of a store with this identity, under whatever name, or the folder where it is to be made.

    In a folder of shared stores it is named after the hook and the SHA-256 of the identity. In the run folder it is the
    one named after model and SAE, unless another there holds the same.
    """
    if run.stores is not None:
        return run.stores / f"{identity.hook}-{identity.sha256[:16]}"
    usual = run.usual_store_path(model, sae)
    others = sorted(path for path in (run.folder / "stores").glob("*/*") if path.is_dir())
    return next((path for path in (usual, *others) if stored_identity(path) == identity), usual)


def lock_stores(run: Run, paths: Iterable[Path]) -> ExitStack:
    """Returns the locks of shared stores, held until it is closed, after waiting for other runs that write to them.

    Locks are taken in the order of the names, so that no two runs wait for each other.
    """
    with ExitStack() as locks:
        for path in sorted(set(paths)):
            stage = f"wait for another run that writes {path}"
            locks.enter_context(only_writer(path, lambda stage=stage: run.progress(stage, 0, 1)))
        return locks.pop_all()
