#include "checked_permutations.h"

#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>

#include "../checks.h"
#include "launch.h"
#include "permutation_kernels.h"

namespace semconv::cuda {

at::Tensor checked_permutations(const at::Tensor& permutations) {
  at::Tensor contiguous = permutations.contiguous();
  const int64_t n = contiguous.size(1);
  const at::Tensor bad = at::full({1}, kNoError, contiguous.options().dtype(at::kLong));
  const at::Tensor seen = at::zeros_like(contiguous);
  launch_each(
      CheckPermutations{contiguous.const_data_ptr<int32_t>(), n,
                        reinterpret_cast<uint32_t*>(seen.mutable_data_ptr<int32_t>()), bad.mutable_data_ptr<int64_t>()},
      contiguous.numel());
  const auto place = bad.item<int64_t>();
  if (place != kNoError) throw_no_permutation(contiguous.view(-1)[place].item<int32_t>(), n, place / n);
  return contiguous;
}

}  // namespace semconv::cuda
