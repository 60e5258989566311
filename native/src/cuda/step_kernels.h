#pragma once
#include <cstdint>

#include "cuda/sampler_kernels.h"
#include "kvant/cuda/stream.h"

namespace kvant::cuda {

// The inputs of a step as they cross to the device, one after the other in one block of int32.
struct StepPacket {
  int32_t tokens = 0, logit_rows = 0, sampled_rows = 0, appends = 0;

  // Offsets in int32s.
  int64_t ids() const { return 0; }
  int64_t positions() const { return tokens; }
  int64_t slots() const { return 2 * int64_t{tokens}; }
  int64_t logit_tokens() const { return 3 * int64_t{tokens}; }
  int64_t sampled() const { return logit_tokens() + logit_rows; }
  int64_t page_appends() const { return sampled() + 2 * int64_t{sampled_rows}; }
  int64_t size() const { return page_appends() + 4 * int64_t{appends}; }
};

struct GroupTable {
  int32_t* pages;  // [row slots, stride]
  int64_t stride;
};

// Where a step's inputs lie while it runs: fixed addresses, which graphs hold.
struct StepArrays {
  int32_t *ids, *positions, *slots;  // [tokens]
  int32_t* logit_tokens;             // [logit rows]
  SampledRow* sampled;               // [sampled rows]
  unsigned long long* saturations;
  const GroupTable* groups;     // [KV groups]
  const int32_t* last_sampled;  // [row slots]
};

// Moves a packet to the arrays, with -1 replaced by the token sampled last for the slot; enters page appends into the tables
// and clears the saturation counter. packet: [layout.size()] of page-locked memory, which the device reads where it is: a copy of so
// little would cost the time of several kernels.
void place_step(const StepPacket& layout, const int32_t* packet, const StepArrays& arrays, Stream stream);

// The same the other way: `bytes`, whole words, to page-locked memory.
void deliver(const void* from, void* to, size_t bytes, Stream stream);

// For tests: a kernel that faults, which loses the device context.
void write_nowhere(Stream stream);

}  // namespace kvant::cuda
