"""The command line: thin commands over the pipeline, with one-sentence errors and exit codes 0, 1 and 2."""

from semconv.cli import studies  # isort: skip - commands stand in `semconv --help` in the order they register
from semconv.cli import finished  # isort: skip
from semconv.cli import stages  # isort: skip
from semconv.cli import planning
from semconv.cli.terminal import app, main

__all__ = ["app", "finished", "main", "planning", "stages", "studies"]
