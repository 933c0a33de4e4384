// What the drivers need to know of the device they run on.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "work.h"

namespace semconv::cuda {

// The limits of the current device.
DeviceLimits device_limits();

// Makes the tensor's device the current one for as long as it lives.
class DeviceScope {
 public:
  explicit DeviceScope(const at::Tensor& tensor);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  struct Guard;
  std::unique_ptr<Guard> guard_;
};

}  // namespace semconv::cuda
