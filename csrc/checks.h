// Argument checks shared by the ops; every message names what was expected and what was found.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>

#include "cross_moments.h"

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

// Throws at the first token whose indptr entry is wrong.
inline void check_indptr(const int64_t* indptr, int64_t n_tokens, int64_t nnz, const char* side) {
  TORCH_CHECK_VALUE(indptr[0] == 0, side, ".indptr must start at 0, got ", indptr[0]);
  for (int64_t t = 0; t < n_tokens; ++t) {
    TORCH_CHECK_VALUE(indptr[t] <= indptr[t + 1], side, ".indptr must not decrease, got ", indptr[t], " then ",
                      indptr[t + 1], " at token ", t);
  }
  TORCH_CHECK_VALUE(indptr[n_tokens] == nnz, side, ".indptr must end at nnz = ", nnz, ", got ", indptr[n_tokens]);
}

// Throws unless an entry of CSR is what it must be; previous is the feature before it on its token, or -1.
inline void check_entry(int64_t feature, int64_t previous, float value, int64_t n_features, int64_t token,
                        const char* side) {
  TORCH_CHECK_VALUE(feature >= 0 && feature < n_features, side, ".indices must be in [0, ", n_features, "), got ",
                    feature, " at token ", token);
  TORCH_CHECK_VALUE(feature > previous, side, ".indices must be strictly increasing per token, got ", previous,
                    " then ", feature, " at token ", token);
  TORCH_CHECK_VALUE(value >= 0.0f && std::isfinite(value), side, ".values must be finite and >= 0, got ", value,
                    " at token ", token);
}

// Entries are read more than once, and whatever other threads write meanwhile, every place taken from them is checked.
[[noreturn, gnu::noinline, gnu::cold]] inline void throw_changed(const char* side) {
  TORCH_CHECK_VALUE(false, side,
                    ".indices changed while they were being read; nothing may write to them before the op returns");
}

inline void check_same_tokens(const at::Tensor& a_indptr, const at::Tensor& b_indptr) {
  TORCH_CHECK_VALUE(a_indptr.numel() == b_indptr.numel(), "a and b must hold the same tokens, got ",
                    a_indptr.numel() - 1, " and ", b_indptr.numel() - 1);
}

inline void check_k(int64_t k, int64_t n_features_a, int64_t n_features_b) {
  const int64_t most = n_features_a < n_features_b ? n_features_a : n_features_b;
  TORCH_CHECK_VALUE(k >= 1 && k <= most, "k must be between 1 and ", most, ", the smaller number of features, got ", k);
}

inline void check_shifts(at::IntArrayRef shifts, int64_t n_tokens) {
  TORCH_CHECK_VALUE(!shifts.empty(), "at least one shift is needed, got none");
  for (const int64_t shift : shifts) {
    TORCH_CHECK_VALUE(shift >= 0 && shift < n_tokens, "shifts must be in [0, ", n_tokens, "), got ", shift);
  }
}

inline void check_permutations_shape(const at::Tensor& permutations, int64_t n) {
  TORCH_CHECK_VALUE(permutations.dim() == 2 && permutations.size(1) == n && permutations.scalar_type() == at::kInt,
                    "permutations must be int32 [m, ", n, "], got ", permutations.scalar_type(), " ",
                    permutations.sizes());
}

// Of best_matches_within; whether every group is in range is seen when they are read.
inline void check_groups_shape(const at::Tensor& groups, int64_t n_groups, int64_t n_tokens) {
  TORCH_CHECK_VALUE(groups.dim() == 1 && groups.size(0) == n_tokens && groups.scalar_type() == at::kInt,
                    "groups must be int32 [", n_tokens, "], got ", groups.scalar_type(), " ", groups.sizes());
  TORCH_CHECK_VALUE(n_groups >= 1 && n_groups <= n_tokens, "n_groups must be between 1 and the ", n_tokens,
                    " tokens, got ", n_groups);
}

[[noreturn]] inline void throw_no_permutation(int64_t item, int64_t n, int64_t row) {
  TORCH_CHECK_VALUE(false, "permutations must be permutations of 0..", n - 1, ", got ", item,
                    " out of range or twice in row ", row);
}

// The bytes that a tensor lies in, gaps between strides included.
struct Extent {
  const char* begin;
  const char* end;
};

inline Extent extent_of(const at::Tensor& t) {
  const auto* const begin = static_cast<const char*>(t.const_data_ptr());
  if (t.numel() == 0) return {begin, begin};
  int64_t last = 0;
  for (int64_t d = 0; d < t.dim(); ++d) last += (t.size(d) - 1) * t.stride(d);
  return {begin, begin + (last + 1) * t.element_size()};
}

// Throws unless every tensor is an array in memory, all of it there, on one device.
inline void check_memory(std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors) {
    TORCH_CHECK_VALUE(tensor.device() == tensors.begin()->device(), "all tensors must be on one device, got ",
                      tensors.begin()->device(), " and ", tensor.device());
    TORCH_CHECK_VALUE(tensor.layout() == at::kStrided && !tensor.is_meta(), "tensors must be dense and have data, got ",
                      tensor.layout(), " on ", tensor.device());
    // A storage may have been made smaller under its tensors.
    const auto* const begin = static_cast<const char*>(tensor.storage().data());
    const char* const end = extent_of(tensor).end;
    TORCH_CHECK_VALUE(tensor.numel() == 0 || end <= begin + tensor.storage().nbytes(), "a tensor of shape ",
                      tensor.sizes(), " must have its memory, got a storage of ", tensor.storage().nbytes(), " bytes");
  }
}

// Everything about the inputs of best_matches that is known without reading them.
inline void check_match_inputs(const at::Tensor& a_indptr, const at::Tensor& a_indices, const at::Tensor& a_values,
                               int64_t n_features_a, const at::Tensor& b_indptr, const at::Tensor& b_indices,
                               const at::Tensor& b_values, int64_t n_features_b, int64_t k) {
  check_csr_shapes(a_indptr, a_indices, a_values, n_features_a, "a");
  check_csr_shapes(b_indptr, b_indices, b_values, n_features_b, "b");
  check_same_tokens(a_indptr, b_indptr);
  check_k(k, n_features_a, n_features_b);
  check_memory({a_indptr, a_indices, a_values, b_indptr, b_indices, b_values});
}

struct Named {
  const char* name;
  const at::Tensor& tensor;
};

// Throws where something that is written shares memory with anything else; all tensors are on one device.
inline void check_no_overlap(std::initializer_list<Named> written, std::initializer_list<Named> read) {
  for (const Named* one = written.begin(); one != written.end(); ++one) {
    const Extent mine = extent_of(one->tensor);
    const auto check = [&](const Named& other) {
      const Extent theirs = extent_of(other.tensor);
      TORCH_CHECK_VALUE(mine.end <= theirs.begin || theirs.end <= mine.begin, one->name, " and ", other.name,
                        " must lie in memory of their own, because ", one->name,
                        " changes; got memory that they share");
    };
    for (const Named* other = one + 1; other != written.end(); ++other) check(*other);
    for (const Named& other : read) check(other);
  }
}

// compact_rows

inline void check_compact_rows(const at::Tensor& x, at::ScalarType dtype, const std::optional<at::Tensor>& threshold) {
  check_dim(x, 2, "x", "[n_tokens, n_features]");
  TORCH_CHECK_VALUE(x.size(1) >= 1 && x.size(1) <= INT32_MAX, "x must have between 1 and 2^31 - 1 features, got ",
                    x.size(1));
  TORCH_CHECK_VALUE(dtype == at::kHalf || dtype == at::kFloat, "dtype must be float16 or float32, got ", dtype);
  TORCH_CHECK_VALUE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kHalf || x.scalar_type() == at::kBFloat16,
                    "x must be float32, bfloat16 or float16, got ", x.scalar_type());
  if (!threshold.has_value()) return;
  TORCH_CHECK_VALUE(threshold->scalar_type() == at::kFloat && threshold->dim() == 1 && threshold->size(0) == x.size(1),
                    "threshold must be float32 [", x.size(1), "], got ", threshold->scalar_type(), " ",
                    threshold->sizes());
}

[[noreturn]] inline void throw_bad_threshold(float threshold, int64_t feature) {
  TORCH_CHECK_VALUE(false, "threshold must be finite and >= 0, got ", threshold, " for feature ", feature);
}

[[noreturn]] inline void throw_unstorable(float value, at::ScalarType dtype, int64_t row, int64_t feature) {
  TORCH_CHECK_VALUE(false, "activations must be finite, >= 0 and within the range of ", dtype, ", got ", value,
                    " at row ", row, ", feature ", feature);
}

// cross_moments_ and what reads its sums

inline void check_stream_state(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                               int64_t headroom_bits) {
  TORCH_CHECK_VALUE(s_ab.scalar_type() == at::kLong && s_ab.dim() == 2 && s_ab.is_contiguous(),
                    "s_ab must be contiguous int64 [F_a, F_b], got ", s_ab.scalar_type(), " ", s_ab.sizes());
  const auto check_side = [&](const at::Tensor& sums, int64_t n_features, const char* name) {
    TORCH_CHECK_VALUE(sums.scalar_type() == at::kLong && sums.dim() == 2 && sums.size(0) == kFeatureSums &&
                          sums.size(1) == n_features && sums.is_contiguous(),
                      name, " must be contiguous int64 [", kFeatureSums, ", ", n_features, "] beside s_ab ",
                      s_ab.sizes(), ", got ", sums.scalar_type(), " ", sums.sizes());
  };
  TORCH_CHECK_VALUE(headroom_bits >= 0 && headroom_bits <= 15, "headroom_bits must be between 0 and 15, got ",
                    headroom_bits);
  check_side(sums_a, s_ab.size(0), "sums_a");
  check_side(sums_b, s_ab.size(1), "sums_b");
}

inline void check_moments_shapes(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                                 int64_t n_tokens) {
  TORCH_CHECK_VALUE(s_ab.scalar_type() == at::kLong && s_ab.dim() == 2, "s_ab must be int64 [F_a, F_b], got ",
                    s_ab.scalar_type(), " ", s_ab.sizes());
  TORCH_CHECK_VALUE(n_tokens >= 1 && n_tokens <= kMaxTokens, "n_tokens must be between 1 and 2^31, got ", n_tokens);
  const auto check_side = [&](const at::Tensor& sums, int64_t n_features, const char* name) {
    TORCH_CHECK_VALUE(sums.scalar_type() == at::kLong && sums.dim() == 2 && sums.size(0) == kFeatureSums &&
                          sums.size(1) == n_features,
                      name, " must be int64 [", kFeatureSums, ", ", n_features, "], got ", sums.scalar_type(), " ",
                      sums.sizes());
  };
  check_side(sums_a, s_ab.size(0), "sums_a");
  check_side(sums_b, s_ab.size(1), "sums_b");
}

// Throws at the first feature whose sums no data can have; sums contiguous and on the host.
inline void check_sums(const at::Tensor& sums, int64_t n_tokens, const char* name) {
  const int64_t n_features = sums.size(1);
  const int64_t* p = sums.const_data_ptr<int64_t>();
  for (int64_t f = 0; f < n_features; ++f) {
    const int64_t s = p[kSum * n_features + f], q = p[kSumSquares * n_features + f], n = p[kActive * n_features + f];
    TORCH_CHECK_VALUE(sums_are_possible(n_tokens, s, q, n), name, " must be sums over ", n_tokens,
                      " tokens, got S = ", s, ", Q = ", q, ", active = ", n, " for feature ", f);
  }
}

inline constexpr double kMostR = 1.0 + 1e-9;  // rounding; sums of one data set give no more

[[noreturn]] inline void throw_impossible_r(double r) {
  TORCH_CHECK_VALUE(false, "s_ab must be of the data that sums_a and sums_b are of, got sums that give r = ", r);
}

// Throws where the best partners score what no data can.
inline void check_best_r(const at::Tensor& a_r, const at::Tensor& b_r) {
  for (const at::Tensor& r : {a_r, b_r}) {
    const at::Tensor impossible = r.masked_select(r.gt(kMostR));
    if (impossible.numel() > 0) throw_impossible_r(impossible[0].item<double>());
  }
}

// permuted_dot

inline void check_permuted_dot_shapes(const at::Tensor& x, const at::Tensor& y, const at::Tensor& permutations) {
  check_dim(x, 2, "x", "[n, n]");
  const int64_t n = x.size(0);
  TORCH_CHECK_VALUE(n >= 1 && x.size(1) == n && y.sizes() == x.sizes(), "x and y must have shape [n, n], got ",
                    x.sizes(), " and ", y.sizes());
  TORCH_CHECK_VALUE(x.scalar_type() == at::kDouble && y.scalar_type() == at::kDouble, "x and y must be float64, got ",
                    x.scalar_type(), " and ", y.scalar_type());
  check_permutations_shape(permutations, n);
}

}  // namespace semconv
