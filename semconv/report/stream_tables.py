"""The tables of residual streams, and of what can be told of decoder rows through them."""

from __future__ import annotations

from semconv.report.result_values import title_of
from semconv.report.shown import show
from semconv.report.table_cells import Rows
from semconv.report.texts import p_told
from semconv.results.schema import BaselineScore, NullTest, Reason, StreamScore, StreamsGrid


def stream_rows(streams: StreamsGrid) -> Rows:
    """Returns how alike the residual streams are, raw and within tokens, and how many directions SVCCA keeps."""
    measures = list(next(iter(streams.grid.values())).raw.measures)
    rows = list[list[object]]()
    for key, pair in streams.grid.items():
        of_variants, row = (pair.raw, pair.within_token), list[object]([key])
        for name in measures:
            found = [one.measures[name] for one in of_variants]
            row += [one.score if isinstance(one, StreamScore) else None for one in found]
        row += [f"{one.directions_a} x {one.directions_b}" for one in of_variants]
        reasons = {one.reason for of in of_variants for one in of.measures.values() if isinstance(one, Reason)}
        rows.append([*row, "; ".join(sorted(reasons))])
    header = [f"{title_of(name)}{suffix}" for name in measures for suffix in ("", ", within tokens")]
    return Rows(["A x B layer", *header, "directions of SVCCA", "directions within tokens", "note"], rows)


def decoder_rows(streams: StreamsGrid, permutations: int) -> Rows:
    """Returns the baselines of decoder rows and matching, each beside the mean of its null and p.

    Args:
        streams: of the run.
        permutations: of the suite, of nulls that do not state their own number of draws.
    """
    rows = list[list[object]]()
    for key, pair in streams.grid.items():
        found = pair.decoders
        if found is None:
            continue
        stitched, notes = found.stitched, set[str]()
        row: list[object] = [key]
        if isinstance(stitched, Reason):
            notes.add(stitched.reason)
            row += [None] * 5
        else:
            row += [stitched.r2_a_to_b, stitched.r2_b_to_a]
            row += [_baseline(one, permutations, notes) for one in (stitched.assigned_cosine, stitched.best_cosine)]
            row.append(_baseline(stitched.same_partner, None, notes))
        row += [_baseline(one, None, notes) for one in (found.best_r_a, found.best_r_b)]
        row += [_baseline(one, permutations, notes) for one in found.partial_rsa.values()]
        rows.append([*row, "; ".join(sorted(notes))])
    first = next((pair.decoders for pair in streams.grid.values() if pair.decoders), None)
    given = [f"RSA given {name.replace('_', ' ')}" for name in (first.partial_rsa if first else ())]
    decoders = [pair.decoders for pair in streams.grid.values() if pair.decoders is not None]
    mapped = [one.stitched for one in decoders if not isinstance(one.stitched, Reason)]
    drawn = _drawn_of(mapped[0].assigned_cosine) if mapped else ""
    cosines = [f"cosine, {which}{drawn}" for which in ("assigned", "best")]
    header = ["A x B layer", "R² A to B", "R² B to A", *cosines, "same partner as by r"]
    return Rows([*header, "mean best r, A", "mean best r, B", *given, "note"], rows)


def _drawn_of(found: BaselineScore | Reason) -> str:
    """Returns of how many draws the null of a baseline is, for the head of its column."""
    test = None if isinstance(found, Reason) else next(iter(found.nulls.values()))
    return f" ({test.draws:,} draws)" if isinstance(test, NullTest) and test.draws is not None else ""


def _baseline(found: BaselineScore | Reason, permutations: int | None, notes: set[str]) -> str | None:
    """Returns a score with the mean of its first null and p; adds the reason to the notes where there is none.

    Without `permutations` it is told without its p, which the calibration study finds too small. What it was drawn of
    is the same in every row, and stands in the head of its column.
    """
    if isinstance(found, Reason):
        notes.add(found.reason)
        return None
    test = next(iter(found.nulls.values()))
    if isinstance(test, Reason):
        return show(found.score)
    if permutations is None:
        return f"{show(found.score)} ({show(test.mean)})"
    p = p_told(test.p, None, of=test.draws or permutations)
    return f"{show(found.score)} ({show(test.mean)}, p {show(p)})"
