"""One of several processes that share the tasks of a study, before `reproduce` tells what they found."""

from __future__ import annotations

from semconv.models.roles import suite_models
from semconv.pipeline.encoded_sides import checked_spans, load_encoded
from semconv.pipeline.function_models import with_function_models
from semconv.pipeline.reproduce import load_blocks
from semconv.pipeline.sampled_streams import with_streams
from semconv.runs.reservations import Shard, sharing
from semconv.runs.run import Run
from semconv.runs.task_cache import code_sha256
from semconv.study.observe import do_tasks
from semconv.study.settings import settings_of
from semconv.system.digests import sha256_of


def share_tasks(run: Run, shard: Shard) -> None:
    """Does tasks of a study together with other processes, until all of them are finished.

    All processes work on one run folder, whose text and stores are there (`encode_all`). They need not begin together,
    and none need stay: a task is done by whoever comes to it, its result is a file, and is the same whoever does it.

    Args:
        run: in the shared folder.
        shard: which tasks this process begins with.

    Raises:
        InputError: nothing was encoded there; a store is missing or damaged; another process has the folder alone; or
            other processes do the tasks of another suite, or by another version of semconv.
    """
    identity = sha256_of(run.suite.sha256, code_sha256())
    run.read_places()
    with sharing(run.folder, identity) as reservations:
        blocks = load_blocks(run)
        spans = checked_spans(run, blocks)
        place = run.workplace(shard, reservations)
        models = suite_models(run.suite, blocks)
        loaded = with_streams(run, place, load_encoded(run, place, blocks, models, spans), models)
        loaded = with_function_models(run, loaded, models)
        with run.timed("compare"):
            settings = settings_of(run.suite, loaded.starts, loaded.encoded.blocks)
            do_tasks(run.suite, settings, loaded.encoded, place, run.progress)
