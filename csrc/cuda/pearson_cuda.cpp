// The rows of the int64 matrix become r; best_from_moments finishes them with the phases of best_matches.
#include "../pearson.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "../checks.h"
#include "launch.h"
#include "matcher.h"
#include "pearson_kernels.h"
#include "row_work.h"

namespace semconv {
namespace {

using namespace cuda;

// One side of a stream, checked.
struct StreamSide {
  at::Tensor sums;  // int64 [kFeatureSums, F] contiguous
  SideStatistics statistics;

  StreamSide(const at::Tensor& given, int64_t n_tokens, bool columns, const char* name)
      : sums(checked(given, n_tokens, name)), statistics(sums[kSum], sums[kSumSquares], n_tokens, columns) {}

  at::Tensor noise() const { return noise_of(sums[kActive], sums[kSumSquares]); }

 private:
  static at::Tensor checked(const at::Tensor& given, int64_t n_tokens, const char* name) {
    const at::Tensor sums = given.contiguous();
    const at::Tensor bad = at::full({1}, kNoError, sums.options());
    launch_each(CheckSums{n_tokens, sums.size(1), sums.const_data_ptr<int64_t>(), bad.mutable_data_ptr<int64_t>()},
                sums.size(1));
    if (bad.item<int64_t>() != kNoError) check_sums(sums.cpu(), n_tokens, name);
    return sums;
  }
};

}  // namespace

at::Tensor correlation_from_moments_cuda(const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b,
                                         int64_t n_tokens) {
  check_moments_shapes(s_ab, sums_a, sums_b, n_tokens);
  check_memory({s_ab, sums_a, sums_b});
  const DeviceScope scope(s_ab);
  const at::Tensor cross = s_ab.contiguous();
  const StreamSide a(sums_a, n_tokens, false, "sums_a"), b(sums_b, n_tokens, false, "sums_b");
  at::Tensor out = at::empty(cross.sizes(), cross.options().dtype(at::kDouble));
  const at::Tensor bad = at::full({1}, kNoError, cross.options());
  launch_each(Correlate{n_tokens, cross.size(1), cross.const_data_ptr<int64_t>(),
                        a.statistics.sum.const_data_ptr<int64_t>(), b.statistics.sum.const_data_ptr<int64_t>(),
                        a.statistics.variance.const_data_ptr<double>(), b.statistics.variance.const_data_ptr<double>(),
                        out.mutable_data_ptr<double>(), kMostR, bad.mutable_data_ptr<int64_t>()},
              cross.numel());
  const auto place = bad.item<int64_t>();
  if (place != kNoError) throw_impossible_r(out.view(-1)[place].item<double>());
  return out;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> best_from_moments_cuda(
    const at::Tensor& s_ab, const at::Tensor& sums_a, const at::Tensor& sums_b, int64_t n_tokens, int64_t k) {
  check_moments_shapes(s_ab, sums_a, sums_b, n_tokens);
  check_k(k, s_ab.size(0), s_ab.size(1));
  check_memory({s_ab, sums_a, sums_b});
  const DeviceScope scope(s_ab);
  const at::Tensor cross = s_ab.contiguous();
  const int64_t n_features_a = cross.size(0), n_features_b = cross.size(1);
  const StreamSide a(sums_a, n_tokens, false, "sums_a"), b(sums_b, n_tokens, true, "sums_b");
  const BestTensors a_best({n_features_a, k}, cross.options()), b_best({n_features_b, k}, cross.options());
  const DeviceLimits limits = device_limits();
  const int64_t workers = limits.multiprocessors;
  const int64_t n_columns = columns_per_pass(n_features_b, limits, k);
  for (int64_t first = 0; first < n_features_b; first += n_columns) {
    const int64_t count = std::min(n_columns, n_features_b - first);
    const Matcher matcher(a.statistics, b.statistics, n_tokens, first, count, k, workers, a_best);
    launch_blocks(
        MatchSumsKernel{matcher.matching(), cross.const_data_ptr<int64_t>(), n_features_a, n_features_b, workers},
        {workers, limits.threads, shared_bytes(0, limits.threads)});
    matcher.join(b_best);
  }
  check_best_r(a_best.r, b_best.r);
  return {a_best.index, a_best.r, b_best.index, b_best.r, a.noise(), b.noise()};
}

}  // namespace semconv
