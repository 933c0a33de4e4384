#include "device.h"

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "launch.h"

namespace semconv::cuda {

struct DeviceScope::Guard {
  c10::cuda::CUDAGuard guard;
  explicit Guard(const at::Tensor& tensor) : guard(tensor.device()) {}
};

DeviceScope::DeviceScope(const at::Tensor& tensor) : guard_(std::make_unique<Guard>(tensor)) {}
DeviceScope::~DeviceScope() = default;

void* current_stream() { return c10::cuda::getCurrentCUDAStream().stream(); }

DeviceLimits device_limits() {
  const auto of_device = [](cudaDeviceAttr attribute) {
    int value = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, c10::cuda::current_device()));
    return static_cast<int64_t>(value);
  };
  return {of_device(cudaDevAttrMultiProcessorCount), of_device(cudaDevAttrMaxSharedMemoryPerBlockOptin), 1024,
          int64_t{1} << 30};
}

}  // namespace semconv::cuda
