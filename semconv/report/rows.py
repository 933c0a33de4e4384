"""The tables of the report, each made from one part of the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from semconv.report.result_values import (
    Scored,
    category_measures,
    control_rows,
    names_of,
    null_names,
    score_of,
    scores_of,
    spread_sources,
    strongest_rows,
    test_of,
    title_of,
    value_of,
)
from semconv.report.shown import percent, show
from semconv.report.table_cells import Rows, interval, interval_of, seed_range
from semconv.report.texts import counted_alone, p_told, tail_note
from semconv.report.told_apart import best_cell, p_of, scored_on, undecided
from semconv.results.schema import (
    Depths,
    DepthTest,
    NullTest,
    Published,
    Reason,
    Relation,
    Results,
    Score,
    ScoreOrReason,
    SpanPair,
    SpansGrid,
    Step,
    StepScore,
    Subspaces,
)
from semconv.suite.nulls import MATCHED_AGAIN

_TESTED = ("mean", "sd", "z", "calibrated", "p", "q")


def _tested(results: Results, null: str, test: NullTest | None) -> list[object]:
    if test is None:
        return [None] * len(_TESTED)
    return [p_of(results, null, test) if field == "p" else getattr(test, field) for field in _TESTED]


def _q_of(test: NullTest | None) -> float | str | None:
    return None if test is None or test.q is None else p_told(test.q, test.draws, test.p_from)


def measure_rows(results: Results, name: str) -> Rows:
    """Returns one measure over the layer grid: pairs, score, interval, and of every null all its numbers."""
    nulls, rows, moved = null_names(results), list[list[object]](), _moved(results)
    again = [null for null in nulls if null in MATCHED_AGAIN]
    for key, pair in results.grid.items():
        found = pair.measures[name]
        row: list[object] = [key, pair.pairs]
        if isinstance(found, Reason):
            row += [*[None] * (2 + len(moved) + bool(again)), *[None] * len(_TESTED) * len(nulls), found.reason]
        else:
            row += [found.score, interval_of(found, found.interval), *(told(found) for told in moved.values())]
            notes = ["saturated"] if found.saturated else []
            of_strongest = (value_of(pair, name, f"{null}.score") for null in again)
            row += [next((score for score in of_strongest if score is not None), None)] if again else []
            for null in nulls:
                row += _tested(results, null, test_of(pair, name, null))
                test = found.nulls.get(null)
                note = test.reason if isinstance(test, Reason) else tail_note(test) if test is not None else ""
                notes += [f"{null}: {note}"] if note else []
            row.append("; ".join(notes))
        rows.append(row)
    header = [
        "A x B layer",
        "pairs",
        "score",
        "95% interval",
        *moved,
        *(["score of the strongest pairs"] * bool(again)),
    ]
    header += [f"{null}: {field}" for null in nulls for field in _TESTED]
    return Rows([*header, "note"], rows)


def _moved(results: Results) -> dict[str, Callable[[Score], str | None]]:
    """Returns column -> what it says of a score: how far it would move, and where it lies through other seeds."""
    columns: dict[str, Callable[[Score], str | None]] = {}
    if sources := spread_sources(results):
        columns[f"sd over {' / '.join(sources)}"] = lambda found: (
            None if found.spread is None else " / ".join(show(getattr(found.spread, source)) for source in sources)
        )
    if any(score.across_seeds for _, score in scores_of(results)):
        columns["across seeds"] = lambda found: seed_range(found.across_seeds)
    return columns


def seed_rows(results: Results) -> Rows:
    """Returns what the SAEs of one model at one layer from several seeds score among themselves."""
    rows = [
        [side, _count_range(of.pairs_lowest, of.pairs_highest)]
        + [seed_range(of.measures.get(measure)) for measure in results.summary]
        for side, of in (results.controls.seeds or {}).items()
    ]
    return Rows(["SAE and its other seeds", "feature pairs", *map(title_of, results.summary)], rows)


def _count_range(lowest: int, highest: int) -> str:
    return str(lowest) if lowest == highest else f"{lowest} to {highest}"


def grid_test_rows(results: Results) -> Rows:
    """Returns for every measure and null how many layer pairs beat it, and the test of the best of them.

    The best is the layer pair of the highest score calibrated against the null, with the score that this tests.
    """
    rows: list[list[object]] = []
    for name, summary in results.summary.items():
        for null in null_names(results):
            s, best = summary.nulls.get(null), best_cell(results, name, null)
            if s is None:
                continue
            tested = best.tested if best else None
            of_grid = [f"{n} of {s.layer_pairs}" for n in (s.significant, s.significant_by)]
            of_grid[0] += f" ({counted_alone(s)})" if counted_alone(s) else ""
            row = [title_of(name), null, *of_grid, undecided(results, name, null), s.smallest_q]
            row += [best and best.key, scored_on(null), best and best.score, best and best.null_mean]
            row.append(best and best.calibrated)
            rows.append([*row, tested and tested.null_mean, p_of(results, null, tested)])
    header = ["measure", "null", "q < 0.05 (BH)", "q < 0.05 (BY)", "cannot tell", "q of one alone above every draw"]
    header += [
        "best layer pair",
        "score of",
        "its score",
        "its null mean",
        "calibrated",
        "mean of the best of each draw, calibrated",
    ]
    return Rows([*header, "p of the best"], rows)


def self_match_rows(results: Results) -> Rows:
    """Returns every SAE matched with itself."""
    selves = [
        [name, match.features, percent(match.found_itself), match.lowest_r]
        + [match.scores[measure] for measure in results.summary]
        for name, match in results.controls.self_match.items()
    ]
    header = ["SAE with itself", "features that vary", "found themselves", "lowest r"]
    return Rows([*header, *map(title_of, results.summary)], selves)


def _beside_shuffle(results: Results, cell: Scored, measure: str) -> str | None:
    score, test = score_of(cell, measure), test_of(cell, measure, "shuffle")
    if score is None:
        return None
    z = test.z if test else None
    return f"{show(score.score)} (z {show(z)}, p {show(p_of(results, 'shuffle', test))})"


def controls_rows(results: Results) -> Rows:
    """Returns floors, the same layers across models, ceilings, and the strongest pairs of floors and trained models."""
    rows = [
        [kind, name, pair.pairs, pair.mean_r, *(_beside_shuffle(results, pair, measure) for measure in results.summary)]
        for kind, name, pair in control_rows(results) + strongest_rows(results)
    ]
    return Rows(["kind", "pair", "feature pairs", "mean r", *map(title_of, results.summary)], rows)


def split_half_rows(results: Results) -> Rows:
    """Returns how alike the matches on either half of the documents are."""
    halves = [
        [key, pair.split_half.features, pair.split_half.same_partner, pair.split_half.r_reliability]
        for key, pair in results.grid.items()
    ]
    vary = f"features of {names_of(results)[1]} that vary in both halves"
    return Rows(["A x B layer", vary, "same best partner", "r of r between halves"], halves)


def step_score(step: Step, measure: Literal["svcca", "rsa"]) -> StepScore | Reason:
    """Returns the score of a published step by one of its two measures, or why there is none."""
    return step.svcca if measure == "svcca" else step.rsa


def _p_of_step(found: StepScore, permutations: int) -> float | str:
    return p_told(found.p, found.draws, of=found.draws or permutations if found.p > 0 else None)


def published_rows(published: Published, permutations: int) -> Rows:
    """Returns the steps from the published protocol to the corrected one.

    Args:
        published: the steps.
        permutations: of the suite, which the corrected steps draw.
    """
    rows: list[list[object]] = []
    for step in published.steps:
        row: list[object] = [step.step, step.pairs]
        for found in (step.svcca, step.rsa):
            told = (
                [found.reason, None, None]
                if isinstance(found, Reason)
                else [found.score, found.null_mean, _p_of_step(found, permutations)]
            )
            row += told
        rows.append(row)
    header = ["step (each on top of those above)", "pairs", "SVCCA", "its null mean", "p", "RSA", "its null mean", "p"]
    return Rows(header, rows)


def _score_or_reason(found: ScoreOrReason | None) -> object:
    return None if found is None else found.reason if isinstance(found, Reason) else found.score


def category_rows(results: Results, subspaces: Subspaces) -> tuple[Rows, int]:
    """Returns the categories of every layer pair, and how many are left out because they hold too little."""
    measures = category_measures(subspaces)
    rows: list[list[object]] = []
    left_out = 0
    for key, cells in subspaces.grid.items():
        for name, cell in cells.items():
            if cell.reason is not None:
                left_out += 1
                continue
            row: list[object] = [key, name, cell.features_a, cell.features_b, cell.pairs]
            for measure in measures:
                test = test_of(cell, measure, "shuffle")
                tested = [test.mean, p_of(results, "shuffle", test), test.q] if test else [None] * 3
                row += [_score_or_reason(cell.measures.get(measure)), *tested]
            rows.append(row)
    features = (f"features of {name}" for name in names_of(results))
    header = ["A x B layer", "category", *features, "pairs"]
    header += [f"{title_of(m)}{suffix}" for m in measures for suffix in ("", ": null mean", ": p", ": q")]
    return Rows(header, rows), left_out


def relation_rows(subspaces: Subspaces, permutations: int) -> Rows:
    """Returns how the categories relate in A and in B.

    Args:
        subspaces: of the run.
        permutations: of the suite, of relations whose permutations are too many to go through.
    """

    def told(found: Relation | Reason) -> list[object]:
        if isinstance(found, Reason):
            return [0, None, None, found.reason]
        p = p_told(found.p, None, of=None if found.exact else permutations)
        return [len(found.categories), found.rho, p, "exact" if found.exact else ""]

    relations = [[key, *told(found)] for key, found in subspaces.relations.items()]
    return Rows(["A x B layer", "categories", "rho", "p", "note"], relations)


def _span_note(cell: SpanPair) -> str:
    if cell.reason is not None:
        return cell.reason
    none = [(name, found) for name, found in cell.measures.items() if isinstance(found, Reason)]
    return "; ".join(f"{title_of(name)}: {found.reason}" for name, found in none)


def span_rows(results: Results, spans: SpansGrid) -> Rows:
    """Returns the layer grid over activations pooled over spans."""
    rows: list[list[object]] = []
    for key, cell in spans.grid.items():
        row: list[object] = [key, cell.pairs]
        for measure in results.summary:
            score, test = score_of(cell, measure), test_of(cell, measure, "shuffle")
            row.append(f"{show(score and score.score)} (q {show(_q_of(test))})")
        rows.append([*row, _span_note(cell)])
    return Rows(["A x B layer", "pairs", *map(title_of, results.summary), "note"], rows)


def influence_rows(results: Results) -> Rows:
    """Returns what the correlation of the feature pairs of every layer pair rests on."""
    rows = list[list[object]]()
    for key, pair in results.grid.items():
        of, told = pair.influence, list[object]([None] * 7)
        if of is not None:
            told = [of.strongest_share, of.document_share, of.token_share, of.r_within_token]
            told += [of.pairs_of_one_document, of.pairs_of_one_token, of.pairs_within_token]
        rows.append([key, pair.pairs, pair.mean_r, *told])
    medians = ["share of ten positions", "of one document", "of one token", "r within tokens"]
    counted = ["pairs of one document", "pairs of one token", "pairs within tokens"]
    return Rows(["A x B layer", "pairs", "mean r", *(f"median {name}" for name in medians), *counted], rows)


def depth_rows(depths: Mapping[str, Depths]) -> Rows:
    """Returns how the scores of every measure lie over the depths; categories that no measure could be tested in have
    no column."""
    tested = (one for of in depths.values() for one in (of.by_category or {}).items())
    categories = sorted({name for name, found in tested if isinstance(found, DepthTest)})
    spans = any(of.over_spans for of in depths.values())
    rows = list[list[object]]()
    for measure, of in depths.items():
        middle = of.middle_above_ends
        within = middle.interval if isinstance(middle, DepthTest) else None
        row: list[object] = [title_of(measure), _depth(middle), interval(within) if within else None]
        row.append(_depth(of.correspondence))
        row += [_depth(of.over_spans)] if spans else []
        by_category = [(of.by_category or {}).get(name) for name in categories]
        rows.append(row + [_depth(found) if isinstance(found, DepthTest) else None for found in by_category])
    header = ["measure", "middle above ends", "its interval", "score and closeness in depth, rho"]
    more = [*(["tokens and spans, rho"] if spans else []), *(f"{name}, rho" for name in categories)]
    return Rows([*header, *more], rows)


def _depth(found: DepthTest | Reason | None) -> str | None:
    if found is None or isinstance(found, Reason):
        return None if found is None else found.reason
    return f"{show(found.statistic)} (p {show(found.p)})"


def filter_rows(results: Results) -> Rows:
    """Returns how many features every filter leaves."""
    steps = [count.step for count in next(iter(results.grid.values())).filters]
    rows = [
        [
            key,
            pair.filters[0].before,
            *(count.after for count in pair.filters),
            pair.mean_r,
            f"{pair.undefined_a} / {pair.undefined_b}",
            f"{pair.noisy_features_a} / {pair.noisy_features_b}",
        ]
        for key, pair in results.grid.items()
    ]
    a, b = names_of(results)
    more = ["mean r kept", f"never vary ({a} / {b})", f"quantisation above 1e-3 ({a} / {b})"]
    return Rows(["A x B layer", f"features of {b}", *steps, *more], rows)
