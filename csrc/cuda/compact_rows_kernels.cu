#include "compact_rows_kernels.h"
#include "launch.cuh"

namespace semconv::cuda {

template void launch_each(const CheckThreshold&, int64_t);
template void launch_blocks(const MarkEntries&, Grid);
template void launch_blocks(const FillEntries&, Grid);

}  // namespace semconv::cuda
