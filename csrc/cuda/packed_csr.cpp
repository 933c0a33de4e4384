#include "packed_csr.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "../checks.h"
#include "launch.h"

namespace semconv::cuda {
namespace {

constexpr int64_t kMaxQuads = int64_t{1} << 32;  // a posting holds the start of its row in 32 bits

// int64 [n + 1]: 0, then the running sum.
at::Tensor offsets_of(const at::Tensor& counts) {
  at::Tensor out = at::zeros({counts.numel() + 1}, counts.options().dtype(at::kLong));
  at::Tensor tail = out.narrow(0, 1, counts.numel());
  at::cumsum_out(tail, counts, 0, at::kLong);
  return out;
}

uint32_t* words(const at::Tensor& t) { return reinterpret_cast<uint32_t*>(t.mutable_data_ptr<int32_t>()); }

// Finds out on the host what is wrong at the marked place, and says it.
void throw_on_error(const ScannedCsr& m, const at::Tensor& errors, const char* side) {
  const int64_t token = errors.const_data_ptr<int64_t>()[0];
  if (token != kNoError) check_indptr(m.indptr.cpu().const_data_ptr<int64_t>(), m.view.n_tokens, m.view.nnz, side);
  const int64_t entry = errors.const_data_ptr<int64_t>()[1];
  if (entry == kNoError) return;
  const at::Tensor indptr = m.indptr.cpu();
  const int64_t* const starts = indptr.const_data_ptr<int64_t>();
  const int64_t at = std::upper_bound(starts, starts + m.view.n_tokens + 1, entry) - starts - 1;
  const int64_t previous = entry > starts[at] ? m.indices[entry - 1].item<int32_t>() : -1;
  check_entry(m.indices[entry].item<int32_t>(), previous, m.values[entry].item<float>(), m.view.n_features, at, side);
}

}  // namespace

Moments::Moments(int64_t n_features, const at::TensorOptions& options)
    : sum(at::zeros({n_features}, options.dtype(at::kLong))), sum_squares(at::zeros_like(sum)) {}

MomentSums Moments::sums(bool wanted) const {
  if (!wanted) return {nullptr, nullptr};
  return {sum.mutable_data_ptr<int64_t>(), sum_squares.mutable_data_ptr<int64_t>()};
}

ScannedCsr scan(const at::Tensor& indptr, const at::Tensor& indices, const at::Tensor& values, int64_t n_features) {
  ScannedCsr m;
  m.indptr = indptr.contiguous();
  m.indices = indices.contiguous();
  m.values = values.contiguous();
  m.view = {m.indptr.const_data_ptr<int64_t>(),
            m.indices.const_data_ptr<int32_t>(),
            m.values.const_data_ptr(),
            values.scalar_type() == at::kHalf,
            indptr.numel() - 1,
            n_features,
            indices.numel()};
  const at::TensorOptions options = indptr.options();
  m.max_bits = at::zeros({n_features}, options.dtype(at::kInt));
  m.stored = at::zeros_like(m.max_bits);
  m.active = at::zeros_like(m.max_bits);
  m.inverse_scale = at::empty({n_features}, options.dtype(at::kDouble));
  m.errors = at::full({2}, kNoError, options);
  int64_t* const errors = m.errors.mutable_data_ptr<int64_t>();
  launch_each(CheckIndptr{m.view, errors}, m.view.n_tokens);
  launch_each(ScanEntries{m.view, errors, errors + 1, words(m.max_bits), words(m.stored), words(m.active)},
              m.view.n_tokens * kTokenLanes);
  launch_each(LearnScales{m.view, words(m.max_bits), m.inverse_scale.mutable_data_ptr<double>()}, n_features);
  return m;
}

void throw_if_bad(const ScannedCsr& a, const ScannedCsr& b) {
  const at::Tensor errors = at::cat({a.errors, b.errors}).cpu();
  throw_on_error(a, errors.narrow(0, 0, 2), "a");
  throw_on_error(b, errors.narrow(0, 2, 2), "b");
}

PackedRows pack_rows(const ScannedCsr& b, ColumnRange columns, const Moments& moments) {
  const int64_t n_tokens = b.view.n_tokens;
  // Without waiting for the device the host knows an upper bound only: three filling records in every row.
  const int64_t most_quads = std::min(b.view.nnz, n_tokens * columns.count) / 4 + n_tokens;
  TORCH_CHECK_VALUE(most_quads < kMaxQuads, "b must hold fewer than 2^34 entries and padding on a CUDA device, got ",
                    b.view.nnz, " on ", n_tokens, " tokens");
  at::Tensor quads = at::empty({n_tokens}, b.indptr.options());
  launch_each(CountQuads{b.view, columns, quads.mutable_data_ptr<int64_t>()}, n_tokens);
  PackedRows out{offsets_of(quads), at::empty({4 * most_quads}, b.indices.options())};
  launch_each(PackRows{b.view, columns, b.inverse_scale.const_data_ptr<double>(),
                       out.row_start.const_data_ptr<int64_t>(), words(out.records), moments.sums(true)},
              n_tokens * kTokenLanes);
  return out;
}

Postings make_postings(const ScannedCsr& a, const PackedRows& rows, const int32_t* partner, const Moments& moments,
                       bool wanted) {
  Postings out{offsets_of(a.stored), at::empty({a.view.nnz}, a.indptr.options())};
  static_assert(sizeof(Posting) == sizeof(int64_t));
  const at::Tensor next = out.offsets.clone();
  launch_each(
      ScatterPostings{a.view, a.inverse_scale.const_data_ptr<double>(), rows.row_start.const_data_ptr<int64_t>(),
                      partner, next.mutable_data_ptr<int64_t>(),
                      reinterpret_cast<Posting*>(out.entries.mutable_data_ptr<int64_t>()), moments.sums(wanted)},
      a.view.n_tokens * kTokenLanes);
  return out;
}

}  // namespace semconv::cuda
