#include "cross_moments_kernels.h"
#include "launch.cuh"

namespace semconv::cuda {

template void launch_each(const SetScales&, int64_t);
template void launch_each(const AddSums&, int64_t);
template void launch_blocks(const CrossMomentsKernel&, Grid);

}  // namespace semconv::cuda
