"""Writes what a run found: Markdown and figures, from the results alone."""

from semconv.report.figures import write_figures
from semconv.report.markdown import write_markdown

__all__ = ["write_figures", "write_markdown"]
