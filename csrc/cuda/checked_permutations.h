// Permutations that come from outside, which the device's ops take places from.
#pragma once

#include <ATen/core/Tensor.h>

namespace semconv::cuda {

// int32 [m, n] on the device, contiguous. Waits for the device; throws ValueError unless every row is a permutation of
// 0..n-1.
at::Tensor checked_permutations(const at::Tensor& permutations);

}  // namespace semconv::cuda
