// Tells Python how this extension was built; the ops themselves reach Python through the dispatcher.
#include <pybind11/pybind11.h>

#ifndef SEMCONV_FLAGS
#define SEMCONV_FLAGS ""
#endif
#ifndef SEMCONV_CUDA_ARCHS
#define SEMCONV_CUDA_ARCHS ""
#endif

PYBIND11_MODULE(_C, m) {
  m.doc() = "Build facts of the semconv native core.";
  m.attr("compiler") = __VERSION__;
  m.attr("flags") = SEMCONV_FLAGS;
  m.attr("cuda_archs") = SEMCONV_CUDA_ARCHS;
}
