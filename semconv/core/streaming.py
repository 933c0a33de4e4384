"""StreamingCorrelation: exact cross-model correlation from chunks as they come, when there is no store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from semconv.core import ops
from semconv.core.correlate import BestMatches, TopMatches
from semconv.core.ops import NO_SCALE, FeatureSum
from semconv.core.sparse import SparseActivations
from semconv.system.errors import InputError

HEADROOM_BITS = 2  # a later value may be four times the largest of the chunk that fixed the scale
BYTES_PER_CHUNK = 2048  # what the tensors of one buffered chunk cost beside their contents


@dataclass
class StreamState:
    """Sufficient statistics of a stream: everything that is needed to go on or to finish.

    Attributes:
        s_ab: int64 [F_a, F_b], sums of products of codes.
        sums_a: int64 [5, F_a], rows as in `semconv.core.ops.FeatureSum`.
        sums_b: int64 [5, F_b].
        n_tokens: tokens summed so far.
    """

    s_ab: Tensor
    sums_a: Tensor
    sums_b: Tensor
    n_tokens: int


def _new_sums(n_features: int, feature_max: Tensor | None, name: str, device: torch.device) -> Tensor:
    sums = torch.zeros(len(FeatureSum), n_features, dtype=torch.int64, device=device)
    exponents = sums[FeatureSum.SCALE_EXPONENT]
    exponents.fill_(NO_SCALE)
    if feature_max is not None:
        maxima = feature_max.to(device).double()
        if maxima.shape != (n_features,) or not bool((maxima.isfinite() & (maxima >= 0)).all()):
            raise InputError(f"{name} must be finite and >= 0 [{n_features}], got {list(maxima.shape)}")
        # The smallest e with max / 2^e <= 65535; frexp gives max = mantissa 2^exponent with mantissa in [0.5, 1).
        mantissa, exponent = torch.frexp(maxima)
        needed = exponent.long() - 16 + (mantissa * 65536 > 65535)
        exponents.copy_(torch.where(maxima > 0, needed, exponents))
    return sums


class StreamingCorrelation:
    """Correlates two models' features over chunks of tokens, with the exact integers of `best_matches`.

    A feature's power-of-two scale is fixed by the first buffer in which it is active, with two bits of headroom; give
    `feature_max_a` and `feature_max_b` to fix it beforehand. With the scales that `best_matches` uses, the result has
    the same bits. A later value beyond its scale counts as saturated.

    Chunks are kept as they come and added when the buffer is full, so that many small updates cost as much as few large
    ones. Memory: 8 F_a F_b bytes, and up to five times `buffer_bytes` while a full buffer is added.

    Args:
        n_features_a: F_a.
        n_features_b: F_b.
        feature_max_a: [F_a] largest value of every feature, 0 where unknown.
        feature_max_b: [F_b].
        max_saturated: share of a side's active values that may exceed their scale.
        buffer_bytes: how much to keep before adding.
        device: where the statistics are kept and summed; chunks must come on it, and results stay on it.

    Raises:
        InputError: no feature on a side, or maxima of another shape, negative or not finite.

    Examples:
        The same eight tokens in one piece and in two chunks, which need not be in memory together. Maxima that are
        known beforehand make the bits of `best_matches`:

        >>> import torch
        >>> from semconv import SparseActivations, StreamingCorrelation, best_matches
        >>> generator = torch.Generator().manual_seed(0)
        >>> a, b = (SparseActivations.from_dense(torch.rand(8, 3, generator=generator)) for _ in range(2))
        >>> stream = StreamingCorrelation(3, 3, feature_max_a=a.feature_max(), feature_max_b=b.feature_max())
        >>> for begin in 0, 4:
        ...     stream.update(a.rows(begin, begin + 4), b.rows(begin, begin + 4))
        >>> stream.n_tokens, stream.correlation().shape
        (8, torch.Size([3, 3]))
        >>> torch.equal(stream.best_matches().a_to_b.r, best_matches(a, b).a_to_b.r)
        True
    """

    def __init__(
        self,
        n_features_a: int,
        n_features_b: int,
        *,
        feature_max_a: Tensor | None = None,
        feature_max_b: Tensor | None = None,
        max_saturated: float = 1e-4,
        buffer_bytes: int = 2**27,
        device: torch.device | str = "cpu",
    ) -> None:
        if n_features_a < 1 or n_features_b < 1:
            raise InputError(f"both sides need at least one feature, got {n_features_a} and {n_features_b}")
        self.max_saturated = max_saturated
        self.buffer_bytes = buffer_bytes
        s_ab = torch.zeros(n_features_a, n_features_b, dtype=torch.int64, device=device)
        self._state = StreamState(
            s_ab,
            _new_sums(n_features_a, feature_max_a, "feature_max_a", s_ab.device),
            _new_sums(n_features_b, feature_max_b, "feature_max_b", s_ab.device),
            0,
        )
        self._buffer: list[tuple[SparseActivations, SparseActivations]] = []
        self._buffered_bytes = 0

    @property
    def device(self) -> torch.device:
        """Where the statistics are kept; chunks must come on it."""
        return self._state.s_ab.device

    @property
    def n_tokens(self) -> int:
        """Tokens seen so far."""
        return self._state.n_tokens + sum(a.n_tokens for a, _ in self._buffer)

    @property
    def saturated(self) -> tuple[int, int]:
        """How many values of A, and of B, exceeded their feature's scale; what is buffered is added first."""
        self.flush()
        sides = (self._state.sums_a, self._state.sums_b)
        return tuple(int(sums[FeatureSum.SATURATED].sum()) for sums in sides)  # type: ignore[return-value]

    def update(self, a: SparseActivations, b: SparseActivations) -> None:
        """Takes the next tokens; the chunks must not be changed afterwards.

        Args:
            a: the first model's activations, F_a wide.
            b: the second model's over the same tokens, F_b wide.

        Raises:
            InputError: other widths, different numbers of tokens or another device; the stream stays as it was.
        """
        widths = tuple(self._state.s_ab.shape)
        if (a.n_features, b.n_features) != widths:
            raise InputError(
                f"chunks must be {widths[0]} and {widths[1]} features wide, got {a.n_features} and {b.n_features}"
            )
        if a.n_tokens != b.n_tokens:
            raise InputError(f"a and b must hold the same tokens, got {a.n_tokens} and {b.n_tokens}")
        if not a.device == b.device == self.device:
            raise InputError(f"chunks must be on {self.device} like the stream, got {a.device} and {b.device}")
        if self._buffer and (a.values.dtype, b.values.dtype) != tuple(c.values.dtype for c in self._buffer[0]):
            self.flush()  # one buffer has one dtype
        self._buffer.append((a, b))
        for chunk in (a, b):
            parts = (chunk.indptr, chunk.indices, chunk.values)
            self._buffered_bytes += BYTES_PER_CHUNK + sum(part.numel() * part.element_size() for part in parts)
        if self._buffered_bytes >= self.buffer_bytes:
            self.flush()

    def flush(self) -> None:
        """Adds what is buffered to the statistics; the other methods call it whenever it is needed.

        Raises:
            InputError: more than 2^31 tokens in all, or buffered chunks that were changed meanwhile.
        """
        if not self._buffer:
            return
        a, b = (SparseActivations.concatenate(side) for side in zip(*self._buffer, strict=True))
        if self._state.n_tokens + a.n_tokens > 2**31:
            raise InputError(f"a stream holds at most 2^31 tokens, got {self._state.n_tokens + a.n_tokens}")
        state = self._state
        ops.cross_moments_(
            state.s_ab,
            state.sums_a,
            state.sums_b,
            (a.indptr, a.indices, a.values),
            (b.indptr, b.indices, b.values),
            HEADROOM_BITS,
        )
        state.n_tokens += a.n_tokens
        self._buffer, self._buffered_bytes = [], 0

    def merge(self, other: StreamingCorrelation) -> None:
        """Adds another stream over other tokens, for example of another process.

        Raises:
            InputError: other widths, another device, or a feature whose scale differs; the stream stays as it was.
        """
        self.flush()
        other.flush()
        mine, theirs = self._state, other._state
        if mine.s_ab.shape != theirs.s_ab.shape:
            raise InputError(
                f"streams must have the same features, got {list(mine.s_ab.shape)} and {list(theirs.s_ab.shape)}"
            )
        if other.device != self.device:
            raise InputError(f"streams must be on one device to be merged, got {self.device} and {other.device}")
        if mine.n_tokens + theirs.n_tokens > 2**31:
            raise InputError(f"a stream holds at most 2^31 tokens, got {mine.n_tokens + theirs.n_tokens}")
        merged = [
            _merged_sums(x, y, side)
            for side, x, y in (("a", mine.sums_a, theirs.sums_a), ("b", mine.sums_b, theirs.sums_b))
        ]
        mine.sums_a, mine.sums_b = merged
        mine.s_ab += theirs.s_ab
        mine.n_tokens += theirs.n_tokens

    def correlation(self) -> Tensor:
        """Returns Pearson r of every pair, float64 [F_a, F_b], NaN where a feature never varies.

        Raises:
            InputError: no token was seen, or too many values exceeded their scale.
        """
        state = self._finished()
        return ops.correlation_from_moments(state.s_ab, state.sums_a, state.sums_b, state.n_tokens)

    def best_matches(self, k: int = 1) -> BestMatches:
        """Returns the k best partners of every feature in both directions, as `semconv.best_matches`.

        Raises:
            InputError: k out of range, no token was seen, or too many values exceeded their scale.
        """
        state = self._finished()
        raw = ops.best_from_moments(state.s_ab, state.sums_a, state.sums_b, state.n_tokens, k)
        return BestMatches(
            TopMatches(raw.a_index, raw.a_r), TopMatches(raw.b_index, raw.b_r), state.n_tokens, raw.a_noise, raw.b_noise
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the sufficient statistics as int64 tensors, which safetensors can write; they share memory with the
        stream.

        Returns:
            `s_ab` [F_a, F_b], `sums_a` [5, F_a], `sums_b` [5, F_b] (rows as in `semconv.core.ops.FeatureSum`), and
            `n_tokens`, a scalar.
        """
        self.flush()
        state = self._state
        return {
            "s_ab": state.s_ab,
            "sums_a": state.sums_a,
            "sums_b": state.sums_b,
            "n_tokens": torch.tensor(state.n_tokens, device=self.device),
        }

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Tensor], *, max_saturated: float = 1e-4, device: torch.device | str | None = None
    ) -> StreamingCorrelation:
        """Continues a stream from copies of what `state_dict` gave.

        Args:
            state: as `state_dict` gave it, on any device.
            max_saturated: as for the stream.
            device: where to continue, by default where `s_ab` is.

        Raises:
            InputError: tensors missing, unknown, or of another shape or dtype than `state_dict` gives.
        """
        names = {"s_ab", "sums_a", "sums_b", "n_tokens"}
        if set(state) != names:
            raise InputError(f"the state of a stream holds {sorted(names)}, got {sorted(state)}")
        s_ab = state["s_ab"]
        if s_ab.dim() != 2:
            raise InputError(f"s_ab must be int64 [F_a, F_b], got {list(s_ab.shape)}")
        shapes = {
            "s_ab": tuple(s_ab.shape),
            "sums_a": (len(FeatureSum), s_ab.shape[0]),
            "sums_b": (len(FeatureSum), s_ab.shape[1]),
            "n_tokens": (),
        }
        for name, shape in shapes.items():
            if state[name].dtype != torch.int64 or tuple(state[name].shape) != shape:
                raise InputError(
                    f"{name} must be int64 {list(shape)}, got {state[name].dtype} {list(state[name].shape)}"
                )
        stream = cls(*s_ab.shape, max_saturated=max_saturated, device=s_ab.device if device is None else device)
        for name in ("s_ab", "sums_a", "sums_b"):
            getattr(stream._state, name).copy_(state[name])
        stream._state.n_tokens = int(state["n_tokens"])
        return stream

    def _finished(self) -> StreamState:
        self.flush()
        state = self._state
        if state.n_tokens == 0:
            raise InputError("a stream needs at least one token before it has a correlation, got none")
        for side, sums in (("a", state.sums_a), ("b", state.sums_b)):
            saturated, active = (int(sums[row].sum()) for row in (FeatureSum.SATURATED, FeatureSum.ACTIVE))
            if saturated > self.max_saturated * active:
                raise InputError(
                    f"at most {self.max_saturated:g} of the values of {side} may exceed the scale that the first "
                    f"chunk fixed, got {saturated} of {active}; give feature_max_{side} or a larger first chunk"
                )
        return state


def _merged_sums(mine: Tensor, theirs: Tensor, side: str) -> Tensor:
    x, y = mine[FeatureSum.SCALE_EXPONENT], theirs[FeatureSum.SCALE_EXPONENT]
    differ = (x != y) & (x != NO_SCALE) & (y != NO_SCALE)
    if bool(differ.any()):
        feature = int(differ.nonzero()[0])
        raise InputError(
            f"streams must have the same scales, got 2^{int(x[feature])} and 2^{int(y[feature])} for feature {feature} "
            f"of {side}; give both streams the same feature_max_{side}"
        )
    merged = mine + theirs
    merged[FeatureSum.SCALE_EXPONENT] = torch.maximum(x, y)  # NO_SCALE is the smallest number there is
    return merged
