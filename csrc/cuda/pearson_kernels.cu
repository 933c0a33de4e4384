#include "launch.cuh"
#include "pearson_kernels.h"

namespace semconv::cuda {

template void launch_each(const CheckSums&, int64_t);
template void launch_each(const Correlate&, int64_t);

}  // namespace semconv::cuda
