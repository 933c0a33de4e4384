#include "launch.cuh"
#include "permutation_kernels.h"

namespace semconv::cuda {

template void launch_each(const CheckPermutations&, int64_t);

}  // namespace semconv::cuda
