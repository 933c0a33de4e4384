"""Whether a machine has room for what was planned, and what would fit into it."""

from __future__ import annotations

import math
from pathlib import Path

from semconv.planning.plan import GIB, Plan


def lacks(plan: Plan, free: int, where: Path) -> list[str]:
    """Returns why a run cannot begin, the end of a sentence each, with what would fit; nothing if it can.

    Args:
        plan: of the run.
        free: bytes of disk that it may fill.
        where: the folder that they are in, for the sentence.
    """
    found, disk, memory = list[str](), plan.disk, plan.memory
    needed = disk.folder + disk.download
    if needed > free:
        parts = {
            "stores": disk.stores,
            "decoders": disk.decoders,
            "download": disk.download,
            "the rest": disk.tasks + disk.rest,
        }
        shares = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts.items() if size >= 0.05 * GIB)
        shares = f" ({shares})" if shares else ""
        found.append(
            f"needs about {needed / GIB:.1f} GiB of disk{shares}, {where} has {free / GIB:.1f} GiB free"
            f"{_tokens(plan, free)}"
        )
    if memory.least > plan.machine.memory:
        found.append(
            f"needs about {memory.least / GIB:.1f} GiB of memory for two SAEs and one task, "
            f"{plan.machine.memory / GIB:.1f} GiB are free{_fewer_tokens_for(plan)}"
        )
    return found


def _tokens(plan: Plan, free: int) -> str:
    """Returns, as the end of a sentence, how much text would fit on the disk."""
    room = free - (plan.disk.folder + plan.disk.download - plan.disk.stores)
    return _with_tokens(plan.n_tokens * room / max(1, plan.disk.stores))


def _fewer_tokens_for(plan: Plan) -> str:
    """Returns, as the end of a sentence, how much text would fit into memory."""
    over = plan.memory.least - plan.machine.memory
    return _with_tokens(plan.n_tokens * (1 - over / max(1, plan.memory.of_tokens)))


def _with_tokens(tokens: float) -> str:
    if tokens < 1000:
        return ""
    digits = 10 ** (math.floor(math.log10(tokens)) - 1)
    return f"; corpus.max_tokens = {int(tokens // digits * digits)} would fit"


def advice(plan: Plan) -> list[str]:
    """Returns what keeps a run within the memory, a sentence each; nothing where it is within."""
    memory, free = plan.memory, plan.machine.memory
    found = list[str]()
    if memory.at_once < plan.machine.cores:
        found.append(f"{memory.at_once} of {plan.machine.cores} tasks have room at once where they hold most")
    if memory.encode > free:
        found.append(
            f"encoding takes about {memory.encode / GIB:.1f} GiB, {free / GIB:.1f} GiB are free: weights are mapped "
            "from their files where they can be, which is slower; a smaller encode.batch takes less"
        )
    if memory.mapped > free - memory.study:
        found.append(
            f"tasks run models of {memory.mapped / GIB:.1f} GiB as stored, mapped from their files: where that is more "
            "than is free beside the study, every pass reads the disk again, which is not planned"
        )
    return found


def in_words(seconds: float) -> str:
    """Returns a time as a person says it: `40 s`, `12 min`, `3.4 h`, `5.0 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
