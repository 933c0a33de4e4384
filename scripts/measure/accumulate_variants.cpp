// The variants of the inner loop of best_matches that were tried, on one synthetic job, in nanoseconds per update.
// Build and run: c++ -O3 -std=c++20 -march=x86-64-v2 scripts/measure/accumulate_variants.cpp -o build/variants -pthread &&
// build/variants [THREADS]. A machine without AVX-512 skips the vector variants. docs/benchmarks.md says what was kept.
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr int64_t kTokens = 100'000, kColumns = 16'384;
constexpr double kL0 = 80, kSigma = 1.5;
constexpr int64_t kLists = 800, kListLength = 488;  // A-features timed, postings of each

struct Record {
  uint16_t column, code;
};

struct Job {
  std::vector<int64_t> offsets;    // [kTokens + 1] where a row starts
  Record* records;                 // rows: length in the first record, then the records
  std::vector<uint64_t> by_row;    // [kLists x kListLength] row offset << 16 | code
  std::vector<uint64_t> by_token;  // [kLists x kListLength] token << 16 | code
  std::vector<uint64_t> places;    // [kTokens] where the records of a row start << 17 | how many
  double updates;
};

uint32_t length_of(const Record* row) { return row->column | static_cast<uint32_t>(row->code) << 16; }

Job make_job(int64_t multiple, int64_t n_rows_visited) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> spread(0, kSigma);
  std::vector<double> density(kColumns);
  double total = 0;
  for (double& d : density) total += d = spread(random);
  for (double& d : density) d = std::min(0.9, d * kL0 / total);
  std::sort(density.rbegin(), density.rend());  // columns by falling frequency
  std::vector<std::vector<Record>> rows(kTokens);
  std::uniform_real_distribution<double> uniform(0, 1);
  for (int64_t c = 0; c < kColumns; ++c) {
    for (double t = std::log(1 - uniform(random)) / std::log1p(-density[c]); t < kTokens;
         t += 1 + std::log(1 - uniform(random)) / std::log1p(-density[c])) {
      rows[static_cast<int64_t>(t)].push_back({static_cast<uint16_t>(c), static_cast<uint16_t>(random())});
    }
  }
  Job job;
  job.offsets = {0};
  double stored = 0;
  for (auto& row : rows) {
    stored += static_cast<double>(row.size());
    while (row.size() % multiple != 0) row.push_back({0, 0});
    job.offsets.push_back(job.offsets.back() + 1 + static_cast<int64_t>(row.size()));
  }
  const size_t bytes = (job.offsets.back() * sizeof(Record) + (4 << 20)) >> 21 << 21;
  job.records = static_cast<Record*>(std::aligned_alloc(2 << 20, bytes));
  madvise(job.records, bytes, MADV_HUGEPAGE);
  for (int64_t t = 0; t < kTokens; ++t) {
    const auto n = static_cast<uint32_t>(rows[t].size());
    job.records[job.offsets[t]] = {static_cast<uint16_t>(n), static_cast<uint16_t>(n >> 16)};
    std::copy(rows[t].begin(), rows[t].end(), job.records + job.offsets[t] + 1);
    job.places.push_back(static_cast<uint64_t>(job.offsets[t] + 1) << 17 | n);
  }
  for (int64_t list = 0; list < kLists; ++list) {
    std::vector<uint64_t> tokens(kListLength);
    for (uint64_t& t : tokens) t = random() % n_rows_visited;
    std::sort(tokens.begin(), tokens.end());
    for (const uint64_t t : tokens) {
      const uint64_t code = random() & 0xFFFF;
      job.by_token.push_back(t << 16 | code);
      job.by_row.push_back(static_cast<uint64_t>(job.offsets[t]) << 16 | code);
    }
  }
  job.updates = kLists * kListLength * stored / kTokens;
  return job;
}

template <int kAhead, int kHint>
[[gnu::always_inline]] inline void prefetch(const Job& job, const uint64_t* list, int64_t i) {
  if constexpr (kAhead > 0) {
    if (i + kAhead >= kListLength) return;
    const Record* row = job.records + (list[i + kAhead] >> 16);
    for (int64_t line = 0; line < 6; ++line) __builtin_prefetch(row + line * 16, 0, kHint);
  }
}

// Length in the row, two 16-bit loads, kUnroll records at a time.
template <int kAhead, int kUnroll, int kHint = 3>
void in_turn(const Job& job, int64_t first, int64_t* accumulator) {
  const uint64_t* list = job.by_row.data() + first;
  for (int64_t i = 0; i < kListLength; ++i) {
    prefetch<kAhead, kHint>(job, list, i);
    const auto code = static_cast<uint32_t>(list[i] & 0xFFFF);
    const Record* r = job.records + (list[i] >> 16);
    const Record* const end = r + 1 + length_of(r);
    for (++r; r < end; r += kUnroll) {
      for (int u = 0; u < kUnroll; ++u) accumulator[r[u].column] += static_cast<int64_t>(code * r[u].code);
    }
  }
}

// As kept: start and length of a row are looked up together, and the rows of a list are read by rising length.
void by_length(const Job& job, int64_t first, int64_t* accumulator) {
  constexpr int64_t kLongest = 512;
  const uint64_t* list = job.by_token.data() + first;
  uint64_t visits[kListLength];
  uint16_t lengths[kListLength], ends[kLongest] = {}, next[kLongest];
  int64_t longest = 0;
  for (int64_t i = 0; i < kListLength; ++i) {
    lengths[i] = static_cast<uint16_t>(job.places[list[i] >> 16] & 0x1FFFF);
    longest = std::max<int64_t>(longest, lengths[i]);
    ++ends[lengths[i]];
  }
  for (int64_t length = 0, before = 0; length <= longest; ++length) {
    next[length] = static_cast<uint16_t>(before);
    ends[length] = static_cast<uint16_t>(before += ends[length]);
  }
  for (int64_t i = 0; i < kListLength; ++i) {
    visits[next[lengths[i]]++] = job.places[list[i] >> 16] >> 17 << 16 | (list[i] & 0xFFFF);
  }
  for (int64_t i = ends[0], length = 1; length <= longest; ++length) {
    for (; i < ends[length]; ++i) {
      const Record* ahead = job.records + (visits[std::min(i + 4, kListLength - 1)] >> 16);
      for (int64_t line = 0; line <= (length + 14) / 16; ++line) __builtin_prefetch(ahead + line * 16);
      const auto code = static_cast<uint32_t>(visits[i] & 0xFFFF);
      const Record* r = job.records + (visits[i] >> 16);
      int64_t left = length;
      for (; left >= 4; left -= 4, r += 4) {
        for (int u = 0; u < 4; ++u) accumulator[r[u].column] += static_cast<int64_t>(code * r[u].code);
      }
      for (; left > 0; --left, ++r) accumulator[r->column] += static_cast<int64_t>(code * r->code);
    }
  }
}

// One 32-bit load a record, split by a mask and a shift.
void wide_load(const Job& job, int64_t first, int64_t* accumulator) {
  const uint64_t* list = job.by_row.data() + first;
  for (int64_t i = 0; i < kListLength; ++i) {
    prefetch<4, 3>(job, list, i);
    const auto code = static_cast<uint32_t>(list[i] & 0xFFFF);
    const Record* row = job.records + (list[i] >> 16);
    const auto* r = reinterpret_cast<const uint32_t*>(row + 1);
    for (const uint32_t* const end = r + length_of(row); r < end; ++r) {
      accumulator[*r & 0xFFFF] += static_cast<int64_t>(code * (*r >> 16));
    }
  }
}

// Where a row starts and ends is looked up in a table.
void offset_table(const Job& job, int64_t first, int64_t* accumulator) {
  const uint64_t* list = job.by_token.data() + first;
  for (int64_t i = 0; i < kListLength; ++i) {
    if (i + 4 < kListLength) {
      const Record* row = job.records + job.offsets[list[i + 4] >> 16];
      for (int64_t line = 0; line < 6; ++line) __builtin_prefetch(row + line * 16);
    }
    const auto code = static_cast<uint32_t>(list[i] & 0xFFFF);
    const Record* r = job.records + job.offsets[list[i] >> 16] + 1;
    const Record* const end = job.records + job.offsets[(list[i] >> 16) + 1];
    for (; r < end; ++r) accumulator[r->column] += static_cast<int64_t>(code * r->code);
  }
}

// One line of the row ahead is asked for with every 16 records, instead of all at once.
void spread_prefetch(const Job& job, int64_t first, int64_t* accumulator) {
  const uint64_t* list = job.by_row.data() + first;
  for (int64_t i = 0; i < kListLength; ++i) {
    const auto code = static_cast<uint32_t>(list[i] & 0xFFFF);
    const Record* r = job.records + (list[i] >> 16);
    const Record* const end = r + 1 + length_of(r);
    const Record* ahead = job.records + (list[std::min(i + 5, kListLength - 1)] >> 16);
    __builtin_prefetch(ahead);
    for (++r; r + 16 <= end; r += 16) {
      __builtin_prefetch(ahead += 16);
      for (int u = 0; u < 16; ++u) accumulator[r[u].column] += static_cast<int64_t>(code * r[u].code);
    }
    for (; r < end; ++r) accumulator[r->column] += static_cast<int64_t>(code * r->code);
  }
}

// AVX-512 gather, add and scatter: columns of a row are distinct, but for the zero records, which add nothing.
__attribute__((target("arch=x86-64-v4"))) void gather_scatter(const Job& job, int64_t first, int64_t* accumulator) {
  const uint64_t* list = job.by_row.data() + first;
  for (int64_t i = 0; i < kListLength; ++i) {
    prefetch<4, 3>(job, list, i);
    const __m512i code = _mm512_set1_epi64(static_cast<int64_t>(list[i] & 0xFFFF));
    const Record* r = job.records + (list[i] >> 16);
    const Record* const end = r + 1 + length_of(r);
    for (++r; r < end; r += 8) {
      const auto mask = static_cast<__mmask8>(end - r >= 8 ? 0xFF : (1 << (end - r)) - 1);
      const __m256i packed = _mm256_maskz_loadu_epi32(mask, r);
      const __m256i column = _mm256_and_si256(packed, _mm256_set1_epi32(0xFFFF));
      const __m512i product = _mm512_mul_epu32(_mm512_srli_epi64(_mm512_cvtepu32_epi64(packed), 16), code);
      const __m512i old = _mm512_mask_i32gather_epi64(product, mask, column, accumulator, 8);
      _mm512_mask_i32scatter_epi64(accumulator, mask, column, _mm512_add_epi64(old, product), 8);
    }
  }
}

using Variant = void (*)(const Job&, int64_t, int64_t*);

double ns_per_update(const Job& job, Variant variant, int64_t n_threads) {
  double best = 1e9;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < n_threads; ++t) {
      threads.emplace_back([&] {
        std::vector<int64_t> accumulator(kColumns, 0);
        for (int64_t list = 0; list < kLists; ++list) variant(job, list * kListLength, accumulator.data());
        if (accumulator[0] == 42) std::puts("");  // the sums are used
      });
    }
    for (std::thread& thread : threads) thread.join();
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count());
  }
  return best / job.updates;
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t n_threads = argc > 1 ? std::atoll(argv[1]) : 2;
  const Job exact = make_job(1, kTokens), padded = make_job(4, kTokens), cached = make_job(4, 64);
  const auto line = [&](const char* name, const Job& job, Variant variant) {
    std::printf("%-58s %.3f\n", name, ns_per_update(job, variant, n_threads));
  };
  std::printf("ns per update and thread, best of 7, %ld threads\n", static_cast<long>(n_threads));
  line("length in the row, unrolled by 4, 4 rows ahead", padded, in_turn<4, 4>);
  line("the same, rows of 64 tokens only (nothing to wait for)", cached, in_turn<4, 4>);
  line("kept: by length, start and length looked up together", exact, by_length);
  line("not unrolled", exact, in_turn<4, 1>);
  line("32-bit load, mask and shift", exact, wide_load);
  line("offset table instead of the length in the row", exact, offset_table);
  line("prefetch 2 rows ahead", padded, in_turn<2, 4>);
  line("prefetch 8 rows ahead", padded, in_turn<8, 4>);
  line("prefetch into L2 only, 8 rows ahead", padded, in_turn<8, 4, 2>);
  line("prefetch past the caches (NTA), 4 rows ahead", padded, in_turn<4, 4, 0>);
  line("prefetch spread over the loop", exact, spread_prefetch);
  line("no prefetch", padded, in_turn<0, 4>);
  if (__builtin_cpu_supports("avx512f")) line("AVX-512 gather and scatter", exact, gather_scatter);
}
