// The peer that a GPU programmer writes first: no shared memory, no packing, one 64-bit global atomic per product.
#include <ATen/ops/empty.h>

#include "../naive_cross_moments.h"
#include "launch.h"
#include "naive_kernels.h"
#include "stream_sums.h"

namespace semconv {
namespace {

using namespace cuda;

uint16_t* codes_of(const at::Tensor& codes) { return reinterpret_cast<uint16_t*>(codes.mutable_data_ptr<int16_t>()); }

at::Tensor encode(const ScannedCsr& m, const Moments& moments) {
  const at::Tensor codes = at::empty({m.view.nnz}, m.indptr.options().dtype(at::kShort));
  launch_each(EncodeEntries{m.view, m.inverse_scale.const_data_ptr<double>(), codes_of(codes), moments.sums(true)},
              m.view.nnz);
  return codes;
}

}  // namespace

void naive_cross_moments_cuda_(at::Tensor s_ab, at::Tensor sums_a, at::Tensor sums_b, const at::Tensor& a_indptr,
                               const at::Tensor& a_indices, const at::Tensor& a_values, const at::Tensor& b_indptr,
                               const at::Tensor& b_indices, const at::Tensor& b_values, int64_t headroom_bits) {
  const StreamChunk chunk(s_ab, sums_a, sums_b, {a_indptr, a_indices, a_values}, {b_indptr, b_indices, b_values},
                          headroom_bits);
  const ScannedCsr &a = chunk.a, &b = chunk.b;
  set_scales(a, sums_a, headroom_bits);
  set_scales(b, sums_b, headroom_bits);
  const Moments a_moments(s_ab.size(0), s_ab.options()), b_moments(s_ab.size(1), s_ab.options());
  const at::Tensor a_codes = encode(a, a_moments), b_codes = encode(b, b_moments);
  launch_each(AddProducts{a.view, b.view, codes_of(a_codes), codes_of(b_codes), s_ab.mutable_data_ptr<int64_t>()},
              a.view.n_tokens * AddProducts::kLanes);
  add_moments(a, a_moments, sums_a);
  add_moments(b, b_moments, sums_b);
}

}  // namespace semconv
