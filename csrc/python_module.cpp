// Tells Python how this extension was built and how fast this machine is, and lets Ctrl-C reach a running op; the ops
// themselves reach Python through the dispatcher.
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <thread>

#include "ceilings.h"
#include "interrupt.h"

#ifndef SEMCONV_FLAGS
#define SEMCONV_FLAGS ""
#endif
#ifndef SEMCONV_CUDA_ARCHS
#define SEMCONV_CUDA_ARCHS ""
#endif
#ifndef SEMCONV_TORCH
#define SEMCONV_TORCH ""
#endif

namespace {

// Runs Python's signal handlers; only the main thread has any. Throws what they raise.
void check_python_signals() {
  pybind11::gil_scoped_acquire gil;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

#ifdef SEMCONV_PLANTED_ERRORS
// Errors that scripts/checks/sanitize.sh must see caught; no other build has them.
int64_t planted(const std::string& kind) {
  if (kind == "data_race") {
    int64_t counter = 0;
    std::thread other([&] { ++counter; });
    ++counter;
    other.join();
    return counter;
  }
  volatile int64_t size = 8;
  auto* values = new int64_t[size]();
  if (kind == "use_after_free") delete[] values;
  volatile int64_t largest = INT64_MAX;
  if (kind == "signed_overflow") return largest + size;
  return values[kind == "read_past_end" ? size : 0];
}
#endif

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Build facts of the semconv native core.";
  m.attr("compiler") = __VERSION__;
  m.attr("flags") = SEMCONV_FLAGS;
  m.attr("cuda_archs") = SEMCONV_CUDA_ARCHS;
  m.attr("torch") = SEMCONV_TORCH;
  m.def("measure_ceilings", [](int64_t row_length) {
    pybind11::gil_scoped_release no_gil;
    const semconv::Ceilings c = semconv::measure_ceilings_cpu(row_length);
    return std::pair(c.updates_per_ns, c.gathered_bytes_per_ns);
  });
#ifdef SEMCONV_PLANTED_ERRORS
  m.def("planted", &planted);
#endif
  semconv::interrupt_check = &check_python_signals;
}
