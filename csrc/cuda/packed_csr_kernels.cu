#include "packed_csr_kernels.h"

#include "launch.cuh"

namespace semconv::cuda {

template void launch_each(const CheckIndptr&, int64_t);
template void launch_each(const ScanEntries&, int64_t);
template void launch_each(const LearnScales&, int64_t);
template void launch_each(const CountQuads&, int64_t);
template void launch_each(const PackRows&, int64_t);
template void launch_each(const ScatterPostings&, int64_t);
template void launch_each(const CountSaturated&, int64_t);

}  // namespace semconv::cuda
