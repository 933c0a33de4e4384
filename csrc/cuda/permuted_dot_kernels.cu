#include "launch.cuh"
#include "permuted_dot_kernels.h"

namespace semconv::cuda {

template void launch_each(const SumRows&, int64_t);
template void launch_blocks(const PermutedRows&, Grid);

}  // namespace semconv::cuda
