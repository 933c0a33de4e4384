// One pass over a dense chunk: threads take ranges of rows, keep what is non-zero, and the pieces are joined in order.
#include "../compact_rows.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "../checks.h"
#include "read_once.h"
#include "vector_clones.h"

namespace semconv {
namespace {

constexpr int64_t kGroup = 32;  // columns tested at once; a sparse row is mostly groups without any entry

template <typename T>
struct Piece {
  std::vector<int32_t> indices;
  std::vector<T> values;
  int64_t bad_row = -1;  // first entry that is no finite number >= 0 in the output type
  int64_t bad_column = -1;
  float bad_value = 0.0f;
};

// Not zero where there is an entry to look at, in the width of the input, which keeps vectors full. The sign is shifted
// out, so that -0.0 counts as zero; a NaN always is an entry.
SEMCONV_READS_AS_IT_IS
inline uint32_t entry(const uint32_t* bits, const float*, int64_t j) { return bits[j] << 1; }
SEMCONV_READS_AS_IT_IS
inline uint16_t entry(const uint16_t* bits, const float*, int64_t j) { return static_cast<uint16_t>(bits[j] << 1); }
SEMCONV_READS_AS_IT_IS
inline uint32_t entry(const float* x, const float* threshold, int64_t j) { return !(x[j] <= threshold[j]); }

template <typename T>
SEMCONV_READS_AS_IT_IS inline void flag_groups_of(const T* x, const float* threshold, int64_t n, uint8_t* flags) {
  for (int64_t start = 0; start < n; start += kGroup) {
    auto any = entry(x, threshold, start);
    if (start + kGroup <= n) {  // a fixed count, for the vectoriser
      for (int64_t j = start; j < start + kGroup; ++j) any |= entry(x, threshold, j);
    } else {
      for (int64_t j = start; j < n; ++j) any |= entry(x, threshold, j);
    }
    flags[start / kGroup] = any != 0;
  }
}

// flags [ceil(n / kGroup)]: whether a group holds an entry. Plain functions, because GCC clones no templates.
SEMCONV_VECTOR_CLONES SEMCONV_READS_AS_IT_IS void flag_groups(const uint32_t* bits, const float* none, int64_t n,
                                                              uint8_t* flags) {
  flag_groups_of(bits, none, n, flags);
}
SEMCONV_VECTOR_CLONES SEMCONV_READS_AS_IT_IS void flag_groups(const uint16_t* bits, const float* none, int64_t n,
                                                              uint8_t* flags) {
  flag_groups_of(bits, none, n, flags);
}
SEMCONV_VECTOR_CLONES SEMCONV_READS_AS_IT_IS void flag_groups(const float* x, const float* threshold, int64_t n,
                                                              uint8_t* flags) {
  flag_groups_of(x, threshold, n, flags);
}
SEMCONV_VECTOR_CLONES SEMCONV_READS_AS_IT_IS void to_float(const at::BFloat16* x, float* out, int64_t n) {
  for (int64_t j = 0; j < n; ++j) out[j] = c10::detail::f32_from_bits(x[j].x);
}
SEMCONV_VECTOR_CLONES SEMCONV_READS_AS_IT_IS void to_float(const at::Half* x, float* out, int64_t n) {
  for (int64_t j = 0; j < n; ++j) out[j] = c10::detail::fp16_ieee_to_fp32_value(x[j].x);
}

// Finds the entries of a row without a branch that depends on the data: each would be mispredicted.
class EntryFinder {
 public:
  explicit EntryFinder(int64_t n) : n_(n), flags_(n / kGroup + 1), groups_(n / kGroup + 1), columns_(n) {}

  template <typename T>
  std::pair<const int32_t*, const int32_t*> operator()(const T* x, const float* threshold) {
    flag_groups(x, threshold, n_, flags_.data());
    int64_t n_groups = 0, n_columns = 0;
    for (int64_t start = 0; start < n_; start += kGroup) {
      groups_[n_groups] = static_cast<int32_t>(start);
      n_groups += flags_[start / kGroup];
    }
    for (int64_t g = 0; g < n_groups; ++g) {
      const int64_t stop = std::min<int64_t>(groups_[g] + kGroup, n_);
      for (int64_t j = groups_[g]; j < stop; ++j) {
        columns_[n_columns] = static_cast<int32_t>(j);
        n_columns += entry(x, threshold, j) != 0;
      }
    }
    return {columns_.data(), columns_.data() + n_columns};
  }

 private:
  int64_t n_;
  std::vector<uint8_t> flags_;    // [groups]
  std::vector<int32_t> groups_;   // [groups] where those with an entry start
  std::vector<int32_t> columns_;  // [n]
};

template <typename In, typename Out>
void compact_range(const In* x, const float* threshold, int64_t begin, int64_t end, int64_t n_features,
                   int64_t* row_counts, Piece<Out>& out) {
  using Bits = std::conditional_t<sizeof(In) == 4, uint32_t, uint16_t>;
  EntryFinder entries(n_features);
  std::vector<float> row_as_float(threshold != nullptr ? n_features : 0);
  for (int64_t row = begin; row < end; ++row) {
    const In* values = x + row * n_features;
    std::pair<const int32_t*, const int32_t*> found;
    if (threshold == nullptr) {
      found = entries(reinterpret_cast<const Bits*>(values), nullptr);
    } else if constexpr (sizeof(In) == 4) {
      found = entries(values, threshold);
    } else {
      to_float(values, row_as_float.data(), n_features);
      found = entries(row_as_float.data(), threshold);
    }
    const size_t before = out.indices.size();
    for (const int32_t* column = found.first; column < found.second; ++column) {
      const float v = static_cast<float>(read_once(values + *column));
      const Out stored = static_cast<Out>(v);
      if (!(v > 0.0f) || !std::isfinite(static_cast<float>(stored))) {
        out.bad_row = row;
        out.bad_column = *column;
        out.bad_value = v;
        return;
      }
      if (static_cast<float>(stored) == 0.0f) continue;
      out.indices.push_back(*column);
      out.values.push_back(stored);
    }
    row_counts[row] = static_cast<int64_t>(out.indices.size() - before);
  }
}

template <typename In, typename Out>
std::tuple<at::Tensor, at::Tensor, at::Tensor> compact(const at::Tensor& x, const float* threshold,
                                                       at::ScalarType dtype) {
  const int64_t n_rows = x.size(0), n_features = x.size(1);
  const int64_t n_pieces = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), n_rows));
  const auto first_row = [=](int64_t piece) { return n_rows * piece / n_pieces; };
  at::Tensor indptr = at::empty({n_rows + 1}, x.options().dtype(at::kLong));
  int64_t* offsets = indptr.mutable_data_ptr<int64_t>();
  std::vector<Piece<Out>> pieces(n_pieces);
  at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) {
      compact_range(x.const_data_ptr<In>(), threshold, first_row(p), first_row(p + 1), n_features, offsets + 1,
                    pieces[p]);
    }
  });
  for (const auto& piece : pieces) {
    if (piece.bad_row < 0) continue;
    throw_unstorable(piece.bad_value, dtype, piece.bad_row, piece.bad_column);
  }
  offsets[0] = 0;
  for (int64_t row = 0; row < n_rows; ++row) offsets[row + 1] += offsets[row];
  at::Tensor indices = at::empty({offsets[n_rows]}, x.options().dtype(at::kInt));
  at::Tensor values = at::empty({offsets[n_rows]}, x.options().dtype(dtype));
  int32_t* indices_out = indices.mutable_data_ptr<int32_t>();
  Out* values_out = values.mutable_data_ptr<Out>();
  at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) {
      std::copy(pieces[p].indices.begin(), pieces[p].indices.end(), indices_out + offsets[first_row(p)]);
      std::copy(pieces[p].values.begin(), pieces[p].values.end(), values_out + offsets[first_row(p)]);
    }
  });
  return {indptr, indices, values};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor, at::Tensor> compact_rows_cpu(const at::Tensor& x, at::ScalarType dtype,
                                                                const std::optional<at::Tensor>& threshold) {
  check_compact_rows(x, dtype, threshold);
  check_memory({x});
  if (threshold.has_value()) check_memory({x, *threshold});
  const at::Tensor dense = x.contiguous();
  at::Tensor limits;
  const float* limit = nullptr;
  if (threshold.has_value()) {
    limits = threshold->contiguous();
    limit = limits.const_data_ptr<float>();
    for (int64_t f = 0; f < x.size(1); ++f) {
      const float one = read_once(limit + f);
      if (!(one >= 0.0f) || !std::isfinite(one)) throw_bad_threshold(one, f);
    }
  }
  const bool half = dtype == at::kHalf;
  switch (x.scalar_type()) {
    case at::kFloat:
      return half ? compact<float, at::Half>(dense, limit, dtype) : compact<float, float>(dense, limit, dtype);
    case at::kHalf:
      return half ? compact<at::Half, at::Half>(dense, limit, dtype) : compact<at::Half, float>(dense, limit, dtype);
    default:  // bfloat16, as was checked
      return half ? compact<at::BFloat16, at::Half>(dense, limit, dtype)
                  : compact<at::BFloat16, float>(dense, limit, dtype);
  }
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("compact_rows", &compact_rows_cpu); }

}  // namespace semconv
