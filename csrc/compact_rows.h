// compact_rows: a dense chunk of activations becomes CSR.
#pragma once

#include <ATen/core/Tensor.h>
#include <optional>
#include <tuple>

namespace semconv {

// x [t, F] float32, bfloat16 or float16; dtype float16 or float32; threshold float32 [F], finite and >= 0, or none.
// Without a threshold every value must be finite and >= 0. With one, what does not exceed it counts as zero, so that x
// may hold pre-activations (JumpReLU). Returns indptr int64 [t + 1], indices int32 [nnz], values dtype [nnz]. An entry
// that rounds to zero is not stored.
std::tuple<at::Tensor, at::Tensor, at::Tensor> compact_rows_cpu(const at::Tensor& x, at::ScalarType dtype,
                                                                const std::optional<at::Tensor>& threshold);
std::tuple<at::Tensor, at::Tensor, at::Tensor> compact_rows_cuda(const at::Tensor& x, at::ScalarType dtype,
                                                                 const std::optional<at::Tensor>& threshold);

}  // namespace semconv
