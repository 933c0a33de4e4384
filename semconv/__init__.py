"""semconv: do two language models of different size represent the same features?

Exact streaming correlation of sparse-autoencoder features across models, matching, and similarity of the matched
spaces beside honest null distributions.
"""

from semconv import compare
from semconv.core.activation_store import ActivationStore, StoreIdentity, StoreWriter
from semconv.core.correlate import BestMatches, TopMatches, best_matches
from semconv.core.sparse import SparseActivations
from semconv.core.streaming import StreamingCorrelation
from semconv.results.read import load_results
from semconv.statistics.permutation import PermutationResult, permutation_test
from semconv.system.errors import InputError, SemconvError
from semconv.text.token_blocks import TokenBlocks

__version__ = "0.1.0"
"""The version of semconv, that of the installed package.

Examples:
    >>> import importlib.metadata
    >>> import semconv
    >>> semconv.__version__ == importlib.metadata.version("semconv")
    True
"""

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
