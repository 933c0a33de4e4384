#include "stream_sums.h"

#include "../checks.h"
#include "cross_moments_kernels.h"
#include "launch.h"

namespace semconv::cuda {
namespace {

int64_t* row_of(const at::Tensor& sums, FeatureSum row) {
  return sums.mutable_data_ptr<int64_t>() + row * sums.size(1);
}

const uint32_t* read_words(const at::Tensor& t) {
  return reinterpret_cast<const uint32_t*>(t.const_data_ptr<int32_t>());
}

// Returns s_ab.
const at::Tensor& checked(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                          const CsrTensors& a, const CsrTensors& b, int64_t headroom_bits) {
  check_stream_state(s_ab, sums_a, sums_b, headroom_bits);
  check_csr_shapes(a.indptr, a.indices, a.values, s_ab.size(0), "a");
  check_csr_shapes(b.indptr, b.indices, b.values, s_ab.size(1), "b");
  check_same_tokens(a.indptr, b.indptr);
  check_memory({s_ab, sums_a, sums_b, a.indptr, a.indices, a.values, b.indptr, b.indices, b.values});
  check_no_overlap({{"s_ab", s_ab}, {"sums_a", sums_a}, {"sums_b", sums_b}}, {{"a.indptr", a.indptr},
                                                                              {"a.indices", a.indices},
                                                                              {"a.values", a.values},
                                                                              {"b.indptr", b.indptr},
                                                                              {"b.indices", b.indices},
                                                                              {"b.values", b.values}});
  return s_ab;
}

}  // namespace

StreamChunk::StreamChunk(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                         const CsrTensors& a, const CsrTensors& b, int64_t headroom_bits)
    : scope_(checked(s_ab, sums_a, sums_b, a, b, headroom_bits)),
      a(scan(a.indptr, a.indices, a.values, s_ab.size(0))),
      b(scan(b.indptr, b.indices, b.values, s_ab.size(1))) {
  throw_if_bad(this->a, this->b);
}

void set_scales(const ScannedCsr& m, const at::Tensor& sums, int64_t headroom_bits) {
  launch_each(SetScales{m.view, read_words(m.max_bits), read_words(m.active), headroom_bits,
                        row_of(sums, kScaleExponent), m.inverse_scale.mutable_data_ptr<double>()},
              m.view.n_features);
}

void add_moments(const ScannedCsr& m, const Moments& moments, const at::Tensor& sums) {
  launch_each(
      AddSums{m.view.n_features, moments.sum.const_data_ptr<int64_t>(), moments.sum_squares.const_data_ptr<int64_t>(),
              read_words(m.active), sums.mutable_data_ptr<int64_t>()},
      m.view.n_features);
  launch_each(CountSaturated{m.view, m.inverse_scale.const_data_ptr<double>(), row_of(sums, kSaturated)}, m.view.nnz);
}

}  // namespace semconv::cuda
