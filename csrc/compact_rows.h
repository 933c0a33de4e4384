// compact_rows: a dense chunk of activations becomes CSR.
#pragma once

#include <ATen/core/Tensor.h>
#include <tuple>

namespace semconv {

// x [t, F] float32, bfloat16 or float16, finite and >= 0; dtype float16 or float32.
// Returns indptr int64 [t + 1], indices int32 [nnz], values dtype [nnz]. An entry that rounds to zero is not stored.
std::tuple<at::Tensor, at::Tensor, at::Tensor> compact_rows_cpu(const at::Tensor& x, at::ScalarType dtype);

}  // namespace semconv
