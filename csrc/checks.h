// Argument checks shared by the ops; every message names what was expected and what was found.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

namespace semconv {

inline constexpr int64_t kMaxTokens = int64_t{1} << 31;  // 2^31 products of two uint16 still fit in int64

inline void check_dim(const at::Tensor& t, int64_t dim, const char* name, const char* shape) {
  TORCH_CHECK_VALUE(t.dim() == dim, name, " must have shape ", shape, ", got ", t.sizes());
}

// Checks everything about a CSR triple that is known without reading its entries.
inline void check_csr_shapes(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values,
                             int64_t n_features, const char* side) {
  const auto name = [side](const char* field) { return std::string(side) + "." + field; };
  check_dim(indptr, 1, name("indptr").c_str(), "[n_tokens + 1]");
  check_dim(indices, 1, name("indices").c_str(), "[nnz]");
  check_dim(values, 1, name("values").c_str(), "[nnz]");
  TORCH_CHECK_VALUE(indptr.scalar_type() == at::kLong, name("indptr"), " must be int64, got ", indptr.scalar_type());
  TORCH_CHECK_VALUE(indices.scalar_type() == at::kInt, name("indices"), " must be int32, got ", indices.scalar_type());
  TORCH_CHECK_VALUE(values.scalar_type() == at::kHalf || values.scalar_type() == at::kFloat, name("values"),
                    " must be float16 or float32, got ", values.scalar_type());
  TORCH_CHECK_VALUE(indptr.numel() >= 2, name("indptr"), " must describe at least one token, got ", indptr.numel(),
                    " entries");
  TORCH_CHECK_VALUE(indptr.numel() - 1 <= kMaxTokens, side, " must hold at most 2^31 tokens, got ", indptr.numel() - 1);
  TORCH_CHECK_VALUE(indices.numel() == values.numel(), name("values"), " must have shape [", indices.numel(),
                    "] like indices, got [", values.numel(), "]");
  TORCH_CHECK_VALUE(n_features >= 1 && n_features <= INT32_MAX, side,
                    " must have between 1 and 2^31 - 1 features, got ", n_features);
}

inline void check_same_tokens(const at::Tensor& a_indptr, const at::Tensor& b_indptr) {
  TORCH_CHECK_VALUE(a_indptr.numel() == b_indptr.numel(), "a and b must hold the same tokens, got ",
                    a_indptr.numel() - 1, " and ", b_indptr.numel() - 1);
}

inline void check_k(int64_t k, int64_t n_features_a, int64_t n_features_b) {
  const int64_t most = n_features_a < n_features_b ? n_features_a : n_features_b;
  TORCH_CHECK_VALUE(k >= 1 && k <= most, "k must be between 1 and ", most, ", the smaller number of features, got ", k);
}

}  // namespace semconv
