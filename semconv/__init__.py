"""semconv: do two language models of different size represent the same features?

Exact streaming correlation of sparse-autoencoder features across models, matching, and similarity of the matched
spaces beside honest null distributions.
"""

from semconv import compare
from semconv.activation_store import ActivationStore, StoreIdentity, StoreWriter
from semconv.claims import load_results
from semconv.correlate import BestMatches, TopMatches, best_matches
from semconv.permutation import PermutationResult, permutation_test
from semconv.sparse import SparseActivations
from semconv.streaming import StreamingCorrelation
from semconv.types import InputError, SemconvError, TokenBlocks

__version__ = "0.1.0"

__all__ = [
    "ActivationStore",
    "BestMatches",
    "InputError",
    "PermutationResult",
    "SemconvError",
    "SparseActivations",
    "StoreIdentity",
    "StoreWriter",
    "StreamingCorrelation",
    "TokenBlocks",
    "TopMatches",
    "__version__",
    "best_matches",
    "compare",
    "load_results",
    "permutation_test",
]
