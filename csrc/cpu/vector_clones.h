// Marks a loop that wide vectors help: the loader picks the widest clone that the machine has.
#pragma once

// GCC names these levels from version 12 on; elsewhere the plain loop serves. Only for loops whose result cannot depend
// on the clone: sums in fixed lanes, or bounds that only select candidates.
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SEMCONV_VECTOR_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SEMCONV_VECTOR_CLONES
#endif
