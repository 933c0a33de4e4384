// The phases of a kernel that adds up rows of S_ab: claim a posting list or a part of one, add its products into two
// limbs per column in shared memory, hand the row to a sink.
#pragma once

#include "block.h"
#include "packed_csr_kernels.h"
#include "work.h"

namespace semconv::cuda {

// Everything a block needs to add up rows of one column block.
struct Accumulation {
  const Posting* postings;   // [nnz]
  const int64_t* offsets;    // [F_a + 1]
  const Quad* rows;          // packed rows of B
  const int64_t* order;      // [F_a] features by falling list length
  const double* variance_a;  // [F_a]; features without variance are passed over; null: none is
  const Part* parts;         // [n_parts]
  int64_t n_parts;
  int64_t first_whole;  // position of the first whole list
  int64_t n_items;      // parts, then whole lists
  int64_t n_columns;
  int64_t part_size;
  int lanes;           // threads per posting
  int64_t* next_item;  // [1] 0 before
};

// What a block is at work on; stands at the start of its shared memory.
struct Head {
  int64_t item;
  int64_t begin, end;  // postings
  double threshold;
  uint32_t n_candidates;
  int32_t feature;
  int32_t row;      // shared row, or -1 for a whole list
  int32_t n_parts;  // of the feature
  uint32_t last;    // whether this block is the last of the feature's
};
static_assert(sizeof(Head) <= kHeaderBytes);

// Two limbs per column: the low and the high 16 bits of every product are added apart, because shared memory adds 32
// bits natively and no more.
struct Limbs {
  uint32_t* low;   // [n_columns]
  uint32_t* high;  // [n_columns]

  SEMCONV_HD void add(uint32_t code, uint32_t record) const {
    const uint32_t product = code * (record >> 16);
    if (product == 0) return;
    fetch_add(low + (record & 0xFFFFu), product & 0xFFFFu);
    fetch_add(high + (record & 0xFFFFu), product >> 16);
  }
  SEMCONV_HD int64_t sum(int64_t c) const {
    return static_cast<int64_t>(low[c]) + (static_cast<int64_t>(high[c]) << 16);
  }
  SEMCONV_HD void clear(int64_t c) const { low[c] = high[c] = 0; }
};

SEMCONV_HD inline Head* head_of(char* shared) { return reinterpret_cast<Head*>(shared); }
SEMCONV_HD inline double* doubles_of(char* shared) { return reinterpret_cast<double*>(shared + kHeaderBytes); }
SEMCONV_HD inline Limbs limbs_of(char* shared, int n_threads, int64_t n_columns) {
  auto* const low = reinterpret_cast<uint32_t*>(shared + kHeaderBytes + 8 * n_threads);
  return {low, low + n_columns};
}

// Takes the next item off the queue; false when there is none.
SEMCONV_HD inline bool claim(const Accumulation& work, Head* head) {
  for (;;) {
    head->item = fetch_add(work.next_item, int64_t{1});
    if (head->item >= work.n_items) return false;
    const bool whole = head->item >= work.n_parts;
    const Part part = whole ? Part{0, static_cast<int32_t>(work.first_whole + head->item - work.n_parts), -1, 1, 0}
                            : work.parts[head->item];
    head->feature = static_cast<int32_t>(work.order[part.position]);
    if (work.variance_a != nullptr && !(work.variance_a[head->feature] > 0.0)) continue;
    const int64_t list_end = work.offsets[head->feature + 1];
    head->begin = work.offsets[head->feature] + part.first;
    head->end = whole || list_end - head->begin < work.part_size ? list_end : head->begin + work.part_size;
    head->row = part.row;
    head->n_parts = part.n_parts;
    return true;
  }
}

inline constexpr int kQuadsAhead = 4;  // that a thread asks for at once: all of its share of a mean row

// What one thread adds. The next posting, and up to kQuadsAhead quads, are asked for before the first is used.
SEMCONV_HD inline void add_postings(const Accumulation& work, const Head& head, const Limbs& limbs, int thread,
                                    int n_threads) {
  const int lane = thread % work.lanes, n_groups = n_threads / work.lanes;
  int64_t i = head.begin + thread / work.lanes;
  if (i >= head.end) return;
  Posting posting = work.postings[i];
  while (i < head.end) {
    i += n_groups;
    const Posting following = i < head.end ? work.postings[i] : Posting{};
    const Quad* const row = work.rows + posting.row;
    for (int q = lane; q < posting.quads; q += kQuadsAhead * work.lanes) {
      Quad quads[kQuadsAhead];
      for (int u = 0; u < kQuadsAhead; ++u) {
        const int at = q + u * work.lanes;
        quads[u] = at < posting.quads ? row[at] : Quad{};
      }
      for (const Quad& quad : quads) {
        for (const uint32_t record : quad.record) limbs.add(posting.code, record);
      }
    }
    posting = following;
  }
}

// Runs a block until the queue is empty. sink(block, head, limbs) takes the row of head.feature and leaves the limbs
// clear; it ends with a barrier, and what it read of the head it read before that.
SEMCONV_PHASES
template <typename Block, typename Sink>
SEMCONV_HD void accumulate_all(Block& block, const Accumulation& work, const Sink& sink) {
  Head* const head = head_of(block.shared());
  const int n = block.n_threads();
  const Limbs limbs = limbs_of(block.shared(), n, work.n_columns);
  block.threads([&](int t) {
    for (int64_t c = t; c < work.n_columns; c += n) limbs.clear(c);
  });
  for (;;) {
    block.threads([&](int t) {
      if (t == 0) claim(work, head);
    });
    if (head->item >= work.n_items) return;
    block.threads([&](int t) { add_postings(work, *head, limbs, t, n); });
    sink(block, head, limbs);
  }
}

}  // namespace semconv::cuda
