#include "ceilings_kernels.h"
#include "launch.cuh"

namespace semconv::cuda {

template void launch_blocks(const SharedAdds&, Grid);
template void launch_blocks(const GatherRows&, Grid);

}  // namespace semconv::cuda
