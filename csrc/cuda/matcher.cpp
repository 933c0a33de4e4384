#include "matcher.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>

#include <limits>

#include "launch.h"

namespace semconv::cuda {

SideStatistics::SideStatistics(const at::Tensor& sum, const at::Tensor& sum_squares, int64_t n_tokens, bool columns)
    : sum(sum), sum_squares(sum_squares), variance(at::empty({sum.numel()}, sum.options().dtype(at::kDouble))) {
  if (columns) {
    gain = at::empty({sum.numel()}, sum.options().dtype(at::kFloat));
    drift = at::empty_like(gain);
  }
  launch_each(Statistics{n_tokens, sum.const_data_ptr<int64_t>(), sum_squares.const_data_ptr<int64_t>(),
                         variance.mutable_data_ptr<double>(), columns ? gain.mutable_data_ptr<float>() : nullptr,
                         columns ? drift.mutable_data_ptr<float>() : nullptr},
              sum.numel());
}

at::Tensor noise_of(const at::Tensor& active, const at::Tensor& sum_squares) {
  at::Tensor out = at::empty({active.numel()}, active.options().dtype(at::kDouble));
  const int64_t* const squares = sum_squares.const_data_ptr<int64_t>();
  double* const noise = out.mutable_data_ptr<double>();
  if (active.scalar_type() == at::kInt) {
    const auto* const counts = reinterpret_cast<const uint32_t*>(active.const_data_ptr<int32_t>());
    launch_each(Noise<uint32_t>{counts, squares, noise}, active.numel());
  } else {
    launch_each(Noise<int64_t>{active.const_data_ptr<int64_t>(), squares, noise}, active.numel());
  }
  return out;
}

BestTensors::BestTensors(at::IntArrayRef shape, const at::TensorOptions& options)
    : index(at::full(shape, -1, options.dtype(at::kLong))),
      r(at::full(shape, std::numeric_limits<double>::quiet_NaN(), options.dtype(at::kDouble))) {}

Matcher::Matcher(const SideStatistics& a, const SideStatistics& b, int64_t n_tokens, int64_t first, int64_t n_columns,
                 int64_t k, int64_t workers, const BestTensors& a_best)
    : workers_(workers),
      columns_({workers * n_columns, k}, a.sum.options()),
      reach_(
          at::full({workers, n_columns}, -std::numeric_limits<float>::infinity(), a.sum.options().dtype(at::kFloat))),
      candidate_(at::empty({workers, n_columns}, a.sum.options().dtype(at::kInt))),
      candidate_sum_(at::empty({workers, n_columns}, a.sum.options())),
      candidate_r_(at::empty({workers, n_columns}, a.sum.options().dtype(at::kDouble))),
      matching_{n_tokens,
                first,
                n_columns,
                k,
                a.sum.const_data_ptr<int64_t>(),
                a.variance.const_data_ptr<double>(),
                b.sum.const_data_ptr<int64_t>(),
                b.variance.const_data_ptr<double>(),
                b.gain.const_data_ptr<float>(),
                b.drift.const_data_ptr<float>(),
                a_best.index.mutable_data_ptr<int64_t>(),
                a_best.r.mutable_data_ptr<double>(),
                reach_.mutable_data_ptr<float>(),
                columns_.index.mutable_data_ptr<int64_t>(),
                columns_.r.mutable_data_ptr<double>(),
                candidate_.mutable_data_ptr<int32_t>(),
                candidate_sum_.mutable_data_ptr<int64_t>(),
                candidate_r_.mutable_data_ptr<double>()} {}

void Matcher::join(const BestTensors& b_best) const {
  launch_each(
      JoinWorkers{matching_, workers_, b_best.index.mutable_data_ptr<int64_t>(), b_best.r.mutable_data_ptr<double>()},
      matching_.n_columns);
}

}  // namespace semconv::cuda
