#include "launch.cuh"
#include "naive_kernels.h"

namespace semconv::cuda {

template void launch_each(const EncodeEntries&, int64_t);
template void launch_each(const AddProducts&, int64_t);

}  // namespace semconv::cuda
