// Registers the CUDA kernels with the dispatcher; apart from them, because the tests run the same drivers on the host.
#include <torch/library.h>

#include "../best_matches.h"
#include "../compact_rows.h"
#include "../cross_moments.h"
#include "../device_ceilings.h"
#include "../naive_cross_moments.h"
#include "../pearson.h"
#include "../permuted_dot.h"

TORCH_LIBRARY_IMPL(semconv, CUDA, m) {
  m.impl("compact_rows", &semconv::compact_rows_cuda);
  m.impl("best_matches", &semconv::best_matches_cuda);
  m.impl("best_matches_permuted", &semconv::best_matches_permuted_cuda);
  m.impl("best_matches_shifted", &semconv::best_matches_shifted_cuda);
  m.impl("cross_moments_", &semconv::cross_moments_cuda_);
  m.impl("correlation_from_moments", &semconv::correlation_from_moments_cuda);
  m.impl("best_from_moments", &semconv::best_from_moments_cuda);
  m.impl("permuted_dot", &semconv::permuted_dot_cuda);
  m.impl("naive_cross_moments_", &semconv::naive_cross_moments_cuda_);
  m.impl("shared_adds", &semconv::shared_adds_cuda);
  m.impl("gather_rows", &semconv::gather_rows_cuda);
}
