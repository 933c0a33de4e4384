#include "launch.cuh"
#include "match_row_kernels.h"

namespace semconv::cuda {

template void launch_each(const Statistics&, int64_t);
template void launch_each(const Noise<uint32_t>&, int64_t);
template void launch_each(const Noise<int64_t>&, int64_t);
template void launch_each(const JoinWorkers&, int64_t);
template void launch_blocks(const MatchKernel&, Grid);
template void launch_blocks(const MatchSumsKernel&, Grid);

}  // namespace semconv::cuda
