#include <algorithm>

#include "cuda/launch.cuh"
#include "cuda/step_kernels.h"

namespace kvant::cuda {
namespace {

__global__ void place_kernel(StepPacket layout, const int32_t* packet, int64_t slots_at, int64_t logits_at, int64_t sampled_at,
                             StepArrays arrays) {
  let_next_start();
  const int32_t i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const bool is_token = i < layout.tokens, is_logit = i < layout.logit_rows, is_sampled = i < layout.sampled_rows;
  // The host wrote these before the launch.
  const int32_t id = is_token ? packet[i] : 0, position = is_token ? packet[layout.tokens + i] : 0;
  const int32_t slot = is_token ? packet[slots_at + i] : 0, logit_token = is_logit ? packet[logits_at + i] : 0;
  const SampledRow sampled = is_sampled ? SampledRow{packet[sampled_at + 2 * i], packet[sampled_at + 2 * i + 1]} : SampledRow{};
  wait_for_inputs();
  if (i == 0) *arrays.saturations = 0;
  if (is_token) {
    arrays.ids[i] = id >= 0 ? id : arrays.last_sampled[slot];
    arrays.positions[i] = position;
    arrays.slots[i] = slot;
  }
  if (is_logit) arrays.logit_tokens[i] = logit_token;
  if (is_sampled) arrays.sampled[i] = sampled;
}

// A thread per entry. The host has dropped what a later entry of the same place replaces.
__global__ void append_kernel(const int32_t* appends, int32_t count, const GroupTable* groups) {
  let_next_start();
  wait_for_inputs();
  const int32_t i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const int32_t* const entry = appends + 4 * i;  // row slot, group, index, page
  const GroupTable group = groups[entry[1]];
  group.pages[entry[0] * group.stride + entry[2]] = entry[3];
}

__global__ void deliver_kernel(const uint32_t* from, uint32_t* to, int32_t words) {
  let_next_start();
  wait_for_inputs();
  const int32_t i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < words) to[i] = from[i];
}

__global__ void write_nowhere_kernel(volatile int* nowhere) { *nowhere = 1; }

}  // namespace

void place_step(const StepPacket& layout, const int32_t* packet, const StepArrays& arrays, Stream stream) {
  const int32_t most = std::max({layout.tokens, layout.logit_rows, layout.sampled_rows, 1});
  launch("place_step", place_kernel, static_cast<unsigned>((most + 255) / 256), 256, 0, stream, layout, packet, layout.slots(),
         layout.logit_tokens(), layout.sampled(), arrays);
  if (layout.appends == 0) return;
  launch("append_pages", append_kernel, static_cast<unsigned>((layout.appends + 255) / 256), 256, 0, stream,
         packet + layout.page_appends(), layout.appends, arrays.groups);
}

void deliver(const void* from, void* to, size_t bytes, Stream stream) {
  const auto words = static_cast<int32_t>(bytes / sizeof(uint32_t));
  launch("deliver", deliver_kernel, static_cast<unsigned>((words + 255) / 256), 256, 0, stream, static_cast<const uint32_t*>(from),
         static_cast<uint32_t*>(to), words);
}

void write_nowhere(Stream stream) {
  write_nowhere_kernel<<<1, 1, 0, stream>>>(nullptr);
  check_launch("write_nowhere");
}

}  // namespace kvant::cuda
