"""Results made by hand from the dataclasses of the schema, every number in them another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from itertools import count, pairwise
from typing import Any, Literal, TypeVar

from semconv.results import schema
from semconv.results.schema import LayerPair, Reason, Results, Score, SpanPair

LAYER_PAIRS = ("0x2", "1x2", "1x10")
MEASURES = ("rsa", "svcca_pc1")
NULLS = ("shuffle", "frequency", "rematch")
_Value = TypeVar("_Value")


def changed(value: _Value, changes: Mapping[str, Any]) -> _Value:
    """Dataclasses, tables and lists in each other with other values at dot-separated paths.

    `...` removes the entry of a table.
    """
    for path, new in changes.items():
        value = _with(value, path.split("."), new)
    return value


def _with(value: Any, path: list[str], new: Any) -> Any:
    if not path:
        return new
    name, *rest = path
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: _with(getattr(value, name), rest, new)})
    if isinstance(value, tuple):
        return tuple(_with(item, rest, new) if place == int(name) else item for place, item in enumerate(value))
    if not rest and new is ...:
        return {key: item for key, item in value.items() if key != name}
    return {**value, name: _with(value[name] if rest else None, rest, new)}


def score_at(results: Results, key: str, measure: str) -> Score:
    """The score of a measure at a layer pair of the grid, which must have one."""
    found = results.grid[key].measures[measure]
    assert isinstance(found, Score)
    return found


class _Maker:
    """Makes parts of results; its numbers have four digits and are never the same twice."""

    def __init__(self) -> None:
        self._numbers = (n / 10_000 for n in count(1003, 6))
        self._digests = count(1)

    def number(self) -> float:
        return next(self._numbers)

    def two(self) -> tuple[float, float]:
        return self.number(), self.number()

    def digest(self) -> str:
        return f"{next(self._digests):064x}"

    def test(self, z: float | None = None) -> schema.NullTest:
        names = ("score", "mean", "sd", "z", "calibrated", "p", "q", "q_by")
        made = schema.NullTest(**{name: self.number() for name in names})
        return made if z is None else replace(made, z=z)

    def score(self, value: float | None = None, z: float | None = None) -> Score:
        nulls: dict[str, schema.TestOrReason] = {null: self.test(z if null == "shuffle" else None) for null in NULLS}
        score = self.number() if value is None else value
        spread = schema.Spread(documents=0.0113, features=0.0224, seeds=0.0335, total=0.0418, dof=5.5)
        across = schema.SeedRange(n=9, lowest=0.2113, mean=0.2224, highest=0.2335)
        return Score(score=score, saturated=False, interval=self.two(), spread=spread, across_seeds=across, nulls=nulls)

    def scores(self, value: float | None = None, z: float | None = None) -> schema.Measures:
        return {name: self.score(value, z) for name in MEASURES}

    def layer_pair(self, key: str, value: float | None = None, z: float | None = None) -> LayerPair:
        a, b = key.split("x")
        pairs, vary = 200 + int(b) + 10 * int(a), 500 + int(a)
        return LayerPair(
            layer_a=int(a),
            layer_b=int(b),
            sae_a=a,
            sae_b=b,
            pairs=pairs,
            mean_r=self.number(),
            filters=(
                schema.FilterStep(step="both features vary", before=512, after=vary),
                schema.FilterStep(step="r > 0.1", before=vary, after=pairs),
            ),
            influence=self.influence(),
            undefined_a=11,
            undefined_b=12,
            noisy_features_a=13,
            noisy_features_b=14,
            matches_sha256=self.digest(),
            split_half=schema.SplitHalf(
                features=431, same_partner=round(1 - self.number(), 4), r_reliability=self.number()
            ),
            measures=self.scores(value, z),
        )

    def influence(self) -> schema.Influence:
        shares = ("strongest_share", "document_share", "token_share", "within_token_share", "r_within_token")
        counts = {"pairs_of_one_document": 17, "pairs_of_one_token": 118, "pairs_within_token": 119}
        return schema.Influence(**{name: self.number() for name in shares}, **counts)

    def depths(self) -> schema.Depths:
        def test() -> schema.DepthTest:
            return schema.DepthTest(statistic=self.number(), p=self.number(), exact=True, interval=self.two())

        return schema.Depths(
            middle_above_ends=Reason(reason="thirds of the depths need three of each model, got 2 and 2"),
            correspondence=test(),
            over_spans=test(),
            by_category={"Time": test()},
        )

    def control(
        self, kind: Literal["floor", "ceiling"], names: tuple[str, str], key: str, value: float, z: float
    ) -> schema.ControlPair:
        made = self.layer_pair(key, value, z)
        parts = {one.name: getattr(made, one.name) for one in fields(made)}
        return schema.ControlPair(**parts, kind=kind, model_a=names[0], model_b=names[1])

    def summary(self, score: float) -> schema.Summary:
        def over_grid() -> schema.NullOverGrid:
            return schema.NullOverGrid(
                layer_pairs=2,
                significant=1,
                significant_by=0,
                smallest_q=0.0021,
                largest_p=self.number(),
                mean=self.number(),
                best_calibrated=self.number(),
                best_of_grid=schema.BestOfGrid(score=self.number(), null_mean=self.number(), p=self.number()),
            )

        return schema.Summary(
            layer_pairs=2,
            best_layer_pair="1x2",
            best_score=score,
            best_interval=self.two(),
            mean_score=self.number(),
            ranked_by="rematch",
            nulls={null: over_grid() for null in NULLS},
        )

    def category(self, pairs: int) -> schema.CategoryPair:
        scored = Score(score=self.number(), nulls={"shuffle": self.test()})
        return schema.CategoryPair(features_a=21, features_b=22, pairs=pairs, measures={"rsa": scored})

    def fit(self) -> schema.Fit:
        share = round(1 - self.number(), 4)
        loss = schema.Loss(tokens=2052, clean=3.5, sae=3.75, zero=8.5, recovered=self.number())
        return schema.Fit(tokens=8203, explained_variance=share, explained_variance_with_sinks=share, loss=loss)

    def sae(self, layer: int) -> schema.Sae:
        return schema.Sae(
            layer=layer,
            hook=f"blocks.{layer}.hook_resid_post",
            head=None,
            hook_out=None,
            architecture="jumprelu",
            source="tests",
            n_features=512,
            activations_sha256=self.digest(),
            l0=self.number(),
            dead_share=0.125,
            sinks=0,
            sinks_norm_share=0.0,
            fit=self.fit(),
            remarks=(),
        )

    def model(self, name: str, layers: tuple[int, ...]) -> schema.Model:
        saes = {str(layer): self.sae(layer) for layer in layers}
        return schema.Model(name=name, path=f"models/{name}", revision="", saes=saes)

    def controls(self, floor_score: float, floor_z: float) -> schema.Controls:
        twins, other = ("small-untrained", "large-untrained"), ("small", "small-other")
        itself = schema.SelfMatch(
            features=77, found_itself=0.9987, lowest_r=self.number(), scores={"rsa": 1.0, "svcca_pc1": None}
        )
        return schema.Controls(
            self_match={"small/0": itself},
            pairs={
                "untrained": self.control("floor", twins, "1x2", floor_score, floor_z),
                "other SAE": self.control("ceiling", other, "1x1", 0.97, 30.0),
            },
            strongest={
                "untrained": schema.StrongestPairs(floor=self.layer_pair("1x2"), trained=self.layer_pair("1x2"))
            },
            seeds={
                "small/1": schema.SeedCeiling(
                    pairs_lowest=611,
                    pairs_highest=622,
                    measures={
                        "rsa": schema.SeedRange(n=3, lowest=0.7113, mean=0.7224, highest=0.7335),
                        "svcca_pc1": None,
                    },
                )
            },
            against={},
            lowest_self_score=None,
            lowest_self_r=None,
        )

    def subspaces(self) -> schema.Subspaces:
        small = schema.CategoryPair(features_a=2, features_b=3, pairs=0, measures={}, reason="2 features on one side")
        relation = schema.Relation(
            categories=("Time", "Nature", "Rare"),
            left_out=(),
            rho=self.number(),
            p=self.number(),
            exact=True,
            similarity_a=(),
            similarity_b=(),
        )
        return schema.Subspaces(
            categories="made up",
            rule="equals",
            sha256=self.digest(),
            grid={
                key: {"Time": self.category(31), "Nature": self.category(32), "Rare": small} for key in ("0x2", "1x2")
            },
            relations={"0x2": relation, "1x2": Reason(reason="at least 3 categories")},
            shared_features={},
        )

    def decoders(self) -> schema.DecoderBaselines:
        def score(null: str) -> schema.BaselineScore:
            return schema.BaselineScore(score=self.number(), nulls={null: self.test()})

        counts = {"documents": 30, "fitted": 2000, "tested": 2100, "features_a": 41, "features_b": 42, "compared": 39}
        numbers = ("r2_a_to_b", "r2_b_to_a", "penalty_a_to_b", "penalty_b_to_a")
        stitched = schema.Stitched(
            **counts,
            **{name: self.number() for name in numbers},
            assigned_cosine=score("shift"),
            best_cosine=score("shift"),
            same_partner=score("shift"),
        )
        given = {name: score("shuffle") for name in ("logit_lens", "embedding", "both")}
        return schema.DecoderBaselines(
            stitched=stitched, partial_rsa=dict(given), best_r_a=score("shift"), best_r_b=score("shift")
        )

    def streams(self) -> schema.StreamsGrid:
        def variant() -> schema.StreamVariant:
            names = ("cka_unbiased", "svcca_variance", "rsa")
            measures = {name: schema.StreamScore(score=self.number()) for name in names}
            return schema.StreamVariant(measures=dict(measures), directions_a=21, directions_b=34)

        grid = {
            key: schema.StreamPair(raw=variant(), within_token=variant(), decoders=self.decoders())
            for key in LAYER_PAIRS
        }
        no_svcca = {"0x2.within_token.measures.svcca_variance": Reason(reason="too few positions")}
        no_svcca |= {"1x2.decoders.stitched": Reason(reason="it is a transcoder")}
        no_svcca |= {"1x10.decoders.partial_rsa.both": Reason(reason="it has no head")}
        counts = {"rows": 158, "documents": 224, "repeated": 39_567, "tokens": 2612, "rsa_positions": 2000}
        return schema.StreamsGrid(positions=40_178, **counts, grid=changed(grid, no_svcca))

    def function_test(self) -> schema.FunctionTest:
        numbers = {name: self.number() for name in ("difference", "error", "p", "higher")}
        return schema.FunctionTest(**numbers, draws=9999, pairs=31, tokens=19)

    def example(self) -> schema.FunctionExample:
        words = ("tokens_a", "tokens_b", "lowered_a", "raised_a", "lowered_b", "raised_b")
        return schema.FunctionExample(
            feature_a=71,
            feature_b=72,
            r=self.number(),
            agreement=self.number(),
            best_negative=self.number(),
            positions=16,
            **{name: (f" {name}", "`x") for name in words},
        )

    def function_pair(self) -> schema.FunctionPair:
        kinds = ("partner", "others", "same_token", "second_best", "co_active", "random")

        def mean() -> schema.FunctionMean:
            return schema.FunctionMean(
                pairs=31, residual=self.number(), residual_error=self.number(), plain=self.number()
            )

        def retrieval() -> schema.Retrieval:
            return schema.Retrieval(top1=self.number(), mrr=self.number(), chance=self.number())

        numbers = ("rsa", "cosine", "residual_r", "signs", "kl_r", "kl_r_others", "size")
        return schema.FunctionPair(
            matched=412,
            pairs=40,
            too_few=9,
            alike={kind: mean() for kind in kinds},
            beyond=self.function_test(),
            among_negatives=retrieval(),
            among_pairs=retrieval(),
            within_token=retrieval(),
            **{name: self.number() for name in numbers},
            points=tuple((*self.two(), self.number()) for _ in range(31)),
            agree=self.example(),
            differ=self.example(),
        )

    def rule(self, own: bool) -> schema.RuleAgreement:
        edges = (-1.0, 0.1, 0.3, 0.5, 1.0)
        bands = tuple(
            schema.RuleBand(
                above=low, up_to=high, pairs=9, agreement=self.number(), error=self.number(), higher=self.number()
            )
            for low, high in pairwise(edges)
        )
        names = ("agreement", "error", "beyond", "beyond_error", "higher")
        less = dict.fromkeys(("difference", "difference_error")) if own else self.apart()
        numbers = {name: self.number() for name in names} | less
        return schema.RuleAgreement(matched=99, drawn=40, pairs=36, by_r=bands, **numbers)

    def apart(self) -> dict[str, float | None]:
        return {"difference": self.number(), "difference_error": 0.01}

    def rules(self) -> schema.ComparedRules:
        names = ("best", "mutual", "greedy", "optimal", "within_token", "r_above_0_3", "r_above_0_5")
        rules: dict[str, schema.RuleAgreementOrReason] = {name: self.rule(name == "best") for name in names}
        rules["decoder_cosine"] = Reason(reason="no streams")
        return schema.ComparedRules(own="best", partners=66, drawn=44, pairs=55, positions=6, rules=rules)

    def position_kinds(self) -> schema.PositionKinds:
        def difference() -> schema.PositionDifference:
            numbers = {name: self.number() for name in ("difference", "error", "p", "higher")}
            return schema.PositionDifference(**numbers, draws=9999, pairs=24, tokens=17)

        kinds = {
            name: schema.PositionKind(
                pairs=25,
                positions=103,
                **{of: self.number() for of in ("agreement", "error", "beyond", "beyond_error")},
            )
            for name in ("uniform", "strongest", "elsewhere", "here")
        }
        return schema.PositionKinds(
            matched=321,
            pairs=28,
            too_few=3,
            positions=5,
            kinds=kinds,
            strongest_less_uniform=difference(),
            here_less_elsewhere=difference(),
        )

    def function(self) -> schema.Function:
        numbers = {name: self.number() for name in ("correlation", "promoted", "suppressed", "chance")}
        thirds: dict[str, schema.FunctionTestOrReason] = {"all": self.function_test()}
        return schema.Function(
            positions=16,
            grid={"0x2": self.function_pair(), "1x10": Reason(reason="a model without a head")},
            thirds=thirds,
            controls={"untrained": self.function_pair()},
            lens={"0x2": schema.LensPair(pairs=88, **numbers), "1x2": Reason(reason="not of the stream")},
            rules={"0x2": self.rules(), "1x10": Reason(reason="nothing fires")},
            position_kinds={"0x2": self.position_kinds(), "1x10": Reason(reason="nothing fires")},
        )

    def spans(self) -> schema.SpansGrid:
        refused: schema.Measures = {"rsa": self.score(), "svcca_pc1": Reason(reason="it refuses")}
        return schema.SpansGrid(
            kind="sentences",
            how="max",
            n_spans=98765,
            mean_length=12.34,
            grid={
                "0x2": SpanPair(pairs=88, measures=self.scores()),
                "1x2": SpanPair(pairs=3, measures={}, reason="3 pairs, at least 50 are needed"),
                "1x10": SpanPair(pairs=89, measures=refused),
            },
        )

    def step(self, name: str) -> schema.Step:
        scored = schema.StepScore(score=self.number(), null_mean=self.number(), p=self.number())
        return schema.Step(step=name, pairs=345, svcca=scored, rsa=Reason(reason="too few for RSA"))


CORPUS = schema.Corpus(
    rows="packed",
    n_rows=543,
    bos_rule="rows begin with <s> (tokenizer_config.json)",
    separator_rule="documents are closed by </s>",
    skip_positions=0,
    excluded=schema.NotCounted(bos=543, eos=1788, padding=21, skipped=0, control=0),
    documents=1801,
    documents_read=1790,
    documents_cut=1,
    tokens_left_out=0,
    tokenizer="BPE of 4096 tokens, tokenizer.json",
    files_ignored=0,
    n_tokens=123456,
    tokens_sha256="b" * 64,
    n_documents=1789,
    n_spans=None,
    context=257,
    text_sha256="c" * 64,
    sinks=schema.Sinks(multiple=10.0, excluded=False, positions_a=0, positions_b=0, spans=0),
    b=None,
)


def read_by_b(corpus: schema.Corpus = CORPUS, **changes: Any) -> schema.TextRead:
    """The same text as model B might read it with a tokenizer of its own."""
    same = {one.name: getattr(corpus, one.name) for one in fields(schema.TextRead)}
    return replace(schema.TextRead(**same), **changes)


VERSIONS = {"torch": "2.99.1", "transformers": "5.98.2", "sae-lens": "6.97.3", "tokenizers": "0.96.4"}


def results(score: float = 0.61, z: float = 9.0, floor_score: float = 0.34, floor_z: float = 4.0) -> Results:
    """A grid of three layer pairs, the last too small for a score, with one floor and one ceiling at layers 1 x 2.

    Args:
        score: of the trained models at 1 x 2, by every measure.
        z: their distance from the shuffled pairing.
        floor_score: of the untrained twins.
        floor_z: their distance.
    """
    make = _Maker()
    grid = {"0x2": make.layer_pair("0x2"), "1x2": make.layer_pair("1x2", score, z), "1x10": make.layer_pair("1x10")}
    none: schema.Measures = {name: Reason(reason=f"7 pairs are too few for {name}") for name in MEASURES}
    grid["1x10"] = replace(grid["1x10"], measures=none)
    return Results(
        suite="made-up",
        suite_sha256="a" * 64,
        fast=False,
        null=schema.NullSettings(n_permutations=1234, n_strata=5, n_rematch=56, n_bootstrap=7, seed=99),
        corpus=CORPUS,
        model_a=make.model("small", (0, 1)),
        model_b=make.model("large", (2, 10)),
        read=schema.Read(
            controls={
                "untrained": schema.ControlFits(a=make.fit(), b=Reason(reason="it predicts nothing")),
                "other SAE": schema.ControlFits(a=make.fit(), b=make.fit()),
            },
            versions=VERSIONS,
        ),
        grid=grid,
        summary={name: make.summary(score) for name in MEASURES},
        primary="rsa",
        depths={name: make.depths() for name in MEASURES},
        controls=make.controls(floor_score, floor_z),
        subspaces=make.subspaces(),
        spans=make.spans(),
        streams=make.streams(),
        function=make.function(),
        published=schema.Published(
            layer_a=1, layer_b=2, steps=(make.step("as published"), make.step("exact Pearson r"))
        ),
    )


LABELS_A = {"0": "2.mlp_out", "1": "2.res-16k"}
LABELS_B = {"2": "5", "10": "5.width_131k"}


def labelled() -> Results:
    """The same results of SAEs that have labels, two at one block of either model."""
    keys = {f"{a}x{b}": f"{LABELS_A[a]} x {LABELS_B[b]}" for a, b in (key.split("x") for key in LAYER_PAIRS)}
    layers = {"layer_a": 2, "layer_b": 5}
    renamed_fields: dict[str, dict[str, str]] = {"sae_a": LABELS_A, "sae_b": LABELS_B | LABELS_A}
    renamed_fields["best_layer_pair"] = keys

    def renamed(value: Any, name: str = "") -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{one.name: renamed(getattr(value, one.name), one.name) for one in fields(value)})
        if isinstance(value, dict):
            return {keys.get(key, key): renamed(inner, key) for key, inner in value.items()}
        if isinstance(value, tuple):
            return tuple(renamed(inner) for inner in value)
        return layers.get(name, renamed_fields.get(name, {}).get(value, value))

    made: Results = renamed(results())

    def relabelled(model: schema.Model, labels: dict[str, str], layer: int) -> schema.Model:
        return replace(model, saes={labels[old]: replace(sae, layer=layer) for old, sae in model.saes.items()})

    return replace(made, model_a=relabelled(made.model_a, LABELS_A, 2), model_b=relabelled(made.model_b, LABELS_B, 5))
