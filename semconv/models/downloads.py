"""Shows downloads from the hub as a stage of a run, in place of the hub client's own bars."""

from __future__ import annotations

from typing import Any

from semconv.runs.run import Progress


def bar_of(progress: Progress | None, stage: str) -> type[Any] | None:
    """Returns the class of progress bar that the hub's client is to use; None, its own, without a callback.

    Args:
        progress: called with `stage`, the bytes that are here and the bytes of the files begun so far; with none until
            the first file begins, and never when every file is in the cache.
        stage: what is downloaded, beginning with `download`.
    """
    if progress is None:
        return None
    from tqdm import tqdm

    told: Progress = progress

    class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument]
        """Counts what the client tells it, and writes nothing."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings, leave=False, delay=0)

        def display(self, msg: str | None = None, pos: int | None = None) -> None:
            received = str(self.desc or "").startswith("Download")  # beside it there is one of bytes that are written
            if self.unit == "B" and self.total and not received:
                told(stage, int(self.n), int(self.total))

        def clear(self, *args: Any, **settings: Any) -> None:
            """Leaves the terminal alone."""

    return Bar
