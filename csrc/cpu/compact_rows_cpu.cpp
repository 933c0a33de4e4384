// One pass over a dense chunk: threads take ranges of rows, keep what is non-zero, and the pieces are joined in order.
#include "../compact_rows.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "../checks.h"

namespace semconv {
namespace {

constexpr int64_t kGroup = 32;  // columns tested at once; a sparse row is mostly groups without any entry

template <typename T>
struct Piece {
  std::vector<int32_t> indices;
  std::vector<T> values;
  int64_t bad_row = -1;  // first entry that is no finite number >= 0 in the output type
  int64_t bad_column = -1;
};

template <typename In>
inline bool any_nonzero(const In* x, int64_t n) {
  using Bits = std::conditional_t<sizeof(In) == 4, uint32_t, uint16_t>;
  Bits any = 0;
  for (int64_t j = 0; j < n; ++j) {
    Bits bits;
    std::memcpy(&bits, x + j, sizeof(bits));
    any |= static_cast<Bits>(bits << 1);  // the sign is shifted out, so that -0.0 counts as zero
  }
  return any != 0;
}

template <typename In, typename Out>
void compact_range(const In* x, int64_t begin, int64_t end, int64_t n_features, int64_t* row_counts, Piece<Out>& out) {
  for (int64_t row = begin; row < end; ++row) {
    const In* values = x + row * n_features;
    const size_t before = out.indices.size();
    for (int64_t start = 0; start < n_features; start += kGroup) {
      const int64_t n = std::min(kGroup, n_features - start);
      if (!any_nonzero(values + start, n)) continue;
      for (int64_t column = start; column < start + n; ++column) {
        const float v = static_cast<float>(values[column]);
        if (v == 0.0f) continue;
        const Out stored = static_cast<Out>(v);
        if (!(v > 0.0f) || !std::isfinite(static_cast<float>(stored))) {
          out.bad_row = row;
          out.bad_column = column;
          return;
        }
        if (static_cast<float>(stored) == 0.0f) continue;
        out.indices.push_back(static_cast<int32_t>(column));
        out.values.push_back(stored);
      }
    }
    row_counts[row] = static_cast<int64_t>(out.indices.size() - before);
  }
}

template <typename In, typename Out>
std::tuple<at::Tensor, at::Tensor, at::Tensor> compact(const at::Tensor& x, at::ScalarType dtype) {
  const int64_t n_rows = x.size(0), n_features = x.size(1);
  const int64_t n_pieces = std::max<int64_t>(1, std::min<int64_t>(at::get_num_threads(), n_rows));
  const auto first_row = [=](int64_t piece) { return n_rows * piece / n_pieces; };
  at::Tensor indptr = at::empty({n_rows + 1}, x.options().dtype(at::kLong));
  int64_t* offsets = indptr.mutable_data_ptr<int64_t>();
  std::vector<Piece<Out>> pieces(n_pieces);
  at::parallel_for(0, n_pieces, 1, [&](int64_t lo, int64_t hi) {
    for (int64_t p = lo; p < hi; ++p) {
      compact_range(x.const_data_ptr<In>(), first_row(p), first_row(p + 1), n_features, offsets + 1, pieces[p]);
    }
  });
  for (const auto& piece : pieces) {
    TORCH_CHECK_VALUE(piece.bad_row < 0, "activations must be finite, >= 0 and within the range of ", dtype, ", got ",
                      x.const_data_ptr<In>()[std::max<int64_t>(piece.bad_row, 0) * n_features +
                                             std::max<int64_t>(piece.bad_column, 0)],
                      " at row ", piece.bad_row, ", feature ", piece.bad_column);
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

std::tuple<at::Tensor, at::Tensor, at::Tensor> compact_rows_cpu(const at::Tensor& x, at::ScalarType dtype) {
  check_dim(x, 2, "x", "[n_tokens, n_features]");
  TORCH_CHECK_VALUE(x.size(1) >= 1 && x.size(1) <= INT32_MAX, "x must have between 1 and 2^31 - 1 features, got ",
                    x.size(1));
  TORCH_CHECK_VALUE(dtype == at::kHalf || dtype == at::kFloat, "dtype must be float16 or float32, got ", dtype);
  const at::Tensor dense = x.contiguous();
  const bool half = dtype == at::kHalf;
  switch (x.scalar_type()) {
    case at::kFloat:
      return half ? compact<float, at::Half>(dense, dtype) : compact<float, float>(dense, dtype);
    case at::kHalf:
      return half ? compact<at::Half, at::Half>(dense, dtype) : compact<at::Half, float>(dense, dtype);
    case at::kBFloat16:
      return half ? compact<at::BFloat16, at::Half>(dense, dtype) : compact<at::BFloat16, float>(dense, dtype);
    default:
      TORCH_CHECK_VALUE(false, "x must be float32, bfloat16 or float16, got ", x.scalar_type());
  }
}

TORCH_LIBRARY_IMPL(semconv, CPU, m) { m.impl("compact_rows", &compact_rows_cpu); }

}  // namespace semconv
