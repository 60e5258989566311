// Attention alone over the shapes of llama3-8b (32 query heads, 8 KV heads of 128; pages of 16 tokens) and of others. Decode: GB/s of codes
// and scales read, percent of a read probe of the same run, speed against BF16 pages. Prefill: TFLOP/s of causal attention
// (4 * heads * head_dim per token and position seen), percent of a probe of mma.sync steps on registers.
// Enough sequences that pages do not stay in the second-level cache; times are medians of graph replays, per launch.
//   cuda_attention_bench [decode | prefill [TEXT]]     only prompts whose name holds TEXT
#include "cuda/attention_mma.cuh"
#include "cuda_attention_fixture.h"
#include "cuda_timing.cuh"

namespace {

using namespace kvant_test;
using kvant::cuda::AttentionMode;
using kvant::cuda::QkvWork;
using kvant::cuda::StepRows;

constexpr int kProbeSteps = 2048, kProbeChains = 8;
__global__ void tensor_probe(uint32_t* out) {
  const uint32_t a[4] = {threadIdx.x * 77u + 0x3c003c01u, 0x3a103c00u, 0x3b003c07u, 0x38003c00u};
  float c[kProbeChains][4] = {};
  for (int i = 0; i < kProbeSteps; i++) {
#pragma unroll
    for (int chain = 0; chain < kProbeChains; chain++) kvant::cuda::step_float<false>(c[chain], a, 0x2c002c01u, 0x2b002c01u);
  }
  float sum = 0;
  for (auto& chain : c) sum += chain[0] + chain[1] + chain[2] + chain[3];
  if (sum == 1.25f) *out = 1;
}

// Contexts of the rows of one step.
struct Batch {
  const char* name;
  std::vector<int> contexts;
};

Batch even(const char* name, int rows, int context) { return {name, std::vector<int>(static_cast<size_t>(rows), context)}; }

struct Result {
  double time, bytes;
};

enum class Store { none, before, within };

// With keys and values stored by qkv_store before, or by attention itself.
Result run_decode(cudaStream_t stream, const Shape& shape, const Batch& batch, bool deterministic, Store store = Store::none) {
  const int code_bytes = kvant::bits(shape.format) / 8;
  double bytes = 0;
  int longest = 0;
  for (int context : batch.contexts) {
    bytes += static_cast<double>(context) * shape.kv_heads * (2 * shape.head_dim * code_bytes + (code_bytes == 1 ? 8 : 0));
    longest = std::max(longest, context);
  }
  const int copies = std::max(1, static_cast<int>(160e6 / bytes));
  std::vector<int> contexts;
  for (int i = 0; i < copies; i++) contexts.insert(contexts.end(), batch.contexts.begin(), batch.contexts.end());
  const Sequences sequences(shape, contexts, 77);
  std::vector<std::unique_ptr<Step>> steps;
  for (int i = 0; i < copies; i++) {
    std::vector<Row> rows;
    for (size_t row = 0; row < batch.contexts.size(); row++) {
      rows.push_back({static_cast<int>(row + static_cast<size_t>(i) * batch.contexts.size()), batch.contexts[row] - 1, 1});
    }
    steps.push_back(std::make_unique<Step>(shape, rows, 99u + static_cast<uint32_t>(i)));
  }
  const AttentionMode mode = kvant::cuda::attention_mode(longest, deterministic);
  const Device<uint8_t> scratch(kvant::cuda::attention_scratch_bytes(mode, attention_shape(shape), static_cast<int64_t>(batch.contexts.size())));
  kvant::cuda::prepare_attention(scratch.data(), nullptr);
  succeed(cudaDeviceSynchronize(), "preparing");
  const size_t tokens = batch.contexts.size();
  const Device<float> qkv(tokens * static_cast<size_t>((shape.heads + 2 * shape.kv_heads) * shape.head_dim));
  const Device<float> table(static_cast<size_t>(longest * shape.head_dim / 2));
  const Device<unsigned long long> saturations(1);
  fill_random<<<256, 256>>>(qkv.data(), qkv.count(), 5, 1, 0);
  fill_random<<<256, 256>>>(table.data(), table.count(), 6, 1, 0);
  succeed(cudaDeviceSynchronize(), "preparing");
  const double time = seconds(stream, [&] {
    for (const auto& step : steps) {
      kvant::QkvStoreArgs args{.qkv = qkv.data(), .q_out = step->q.data(), .heads = shape.heads, .rope = {table.data(), table.data()}, .layer = 1};
      kvant::cuda::AttentionExtras extras;
      if (store == Store::before) kvant::cuda::qkv_store(args, step->tokens, sequences.pages, saturations.data(), stream);
      if (store == Store::within) extras.work = QkvWork::all, extras.qkv = args, extras.saturations = saturations.data();
      kvant::cuda::attention(mode, StepRows::single, step->args, step->tokens, sequences.pages, extras, scratch.data(), stream);
    }
  });
  return {time / copies, bytes};
}

// Queries as qkv_store has left them, or turned as they are read.
Result run_prefill(cudaStream_t stream, const Shape& shape, const std::vector<Row>& rows, QkvWork work) {
  std::vector<int> contexts;
  double operations = 0;
  for (const Row& row : rows) {
    contexts.push_back(row.position + row.count);
    operations += 4.0 * shape.heads * shape.head_dim * row.count * (row.position + (row.count + 1) / 2.0);
  }
  const Sequences sequences(shape, contexts, 78);
  const Step step(shape, rows, 98);
  const AttentionMode mode = kvant::cuda::attention_mode(*std::max_element(contexts.begin(), contexts.end()), false);
  const Device<uint8_t> scratch(kvant::cuda::attention_scratch_bytes(mode, attention_shape(shape), step.tokens.count));
  kvant::cuda::prepare_attention(scratch.data(), nullptr);
  succeed(cudaDeviceSynchronize(), "preparing");
  const Device<float> qkv(static_cast<size_t>(step.tokens.count) * (shape.heads + 2 * shape.kv_heads) * shape.head_dim);
  const Device<float> table(static_cast<size_t>(*std::max_element(contexts.begin(), contexts.end())) * shape.head_dim / 2);
  fill_random<<<256, 256>>>(qkv.data(), qkv.count(), 5, 1, 0);
  fill_random<<<256, 256>>>(table.data(), table.count(), 6, 1, 0);
  kvant::cuda::AttentionExtras extras;
  extras.work = work;
  extras.qkv = {.qkv = qkv.data(), .heads = shape.heads, .rope = {table.data(), table.data()}, .layer = 1};
  const double time = seconds(stream, [&] {
    kvant::cuda::attention(mode, StepRows::chunks, step.args, step.tokens, sequences.pages, extras, scratch.data(), stream);
  });
  return {time, operations};
}

// What lies before it: bytes of float32 rows read, of queries written as such where they are, of keys and values as pages hold them.
Result run_store(cudaStream_t stream, const Shape& shape, int tokens, bool queries) {
  const Sequences sequences(shape, {tokens}, 79);
  const Step step(shape, {{0, 0, tokens}}, 97);
  const int all_heads = shape.heads + 2 * shape.kv_heads;
  const Device<float> qkv(static_cast<size_t>(tokens) * all_heads * shape.head_dim), table(static_cast<size_t>(tokens) * shape.head_dim / 2);
  const Device<unsigned long long> saturations(1);
  fill_random<<<256, 256>>>(qkv.data(), qkv.count(), 5, 1, 0);
  fill_random<<<256, 256>>>(table.data(), table.count(), 6, 1, 0);
  succeed(cudaDeviceSynchronize(), "preparing");
  const kvant::QkvStoreArgs args{.qkv = qkv.data(), .q_out = queries ? step.q.data() : nullptr, .heads = shape.heads, .rope = {table.data(), table.data()}, .layer = 1};
  const double time = seconds(stream, [&] { kvant::cuda::qkv_store(args, step.tokens, sequences.pages, saturations.data(), stream); });
  const int code_bytes = kvant::bits(shape.format) / 8;
  return {time, double(tokens) * shape.head_dim * (queries * 8 * shape.heads + 2 * shape.kv_heads * (4 + code_bytes))};
}

void bench_prefill(cudaStream_t stream, double read, double steps, const std::string& only) {
  const std::pair<const char*, std::vector<Row>> prompts[] = {{"512", {{0, 0, 512}}},
                                                              {"2048", {{0, 0, 2048}}},
                                                              {"8192", {{0, 0, 8192}}},
                                                              {"2048 at 30720", {{0, 30720, 2048}}},
                                                              {"4 x 512", {{0, 0, 512}, {1, 0, 512}, {2, 0, 512}, {3, 0, 512}}}};
  struct Model {
    const char* name;
    int heads, kv_heads, head_dim;
  };
  for (const Model& model : {Model{"llama3-8b", 32, 8, 128}, Model{"llama2-7b", 32, 32, 128}, Model{"tinyllama-1.1b", 32, 4, 64}, Model{"qwen2.5-0.5b", 14, 2, 64}, Model{"phi3-mini", 32, 32, 96}, Model{"gemma-2b", 8, 1, 256}}) {
    for (Format format : {Format::bf16, Format::int8, Format::e4m3}) {
      Shape shape{format};
      shape.heads = model.heads, shape.kv_heads = model.kv_heads, shape.head_dim = model.head_dim;
      for (const auto& [name, rows] : prompts) {
        if ((std::string(model.name) + " " + name + " " + kvant::format_name(format)).find(only) == std::string::npos) continue;
        const Result result = run_prefill(stream, shape, rows, QkvWork::none), turning = run_prefill(stream, shape, rows, QkvWork::queries);
        std::printf("%s prefill %-14s %-4s %8.1f us %5.0f TFLOP/s (%3.0f%%), turning queries %.1f us\n", model.name, name, kvant::format_name(format),
                    result.time * 1e6, result.bytes / result.time / 1e12, 100 * result.bytes / result.time / steps, turning.time * 1e6);
        std::fflush(stdout);
      }
      if (!only.empty()) continue;
      for (int tokens : {512, 2048, 8192}) {
        const Result result = run_store(stream, shape, tokens, true), alone = run_store(stream, shape, tokens, false);
        std::printf("%s qkv_store %-12d %-4s %8.1f us %5.0f GB/s (%3.0f%%), of keys and values alone %.1f us\n", model.name, tokens,
                    kvant::format_name(format), result.time * 1e6, result.bytes / result.time / 1e9, 100 * result.bytes / result.time / read, alone.time * 1e6);
      }
    }
  }
}

void bench_decode(cudaStream_t stream, double read) {
  std::vector<int> ragged;
  for (int i = 0; i < 64; i++) ragged.push_back(64 << (i * 7 % 8));
  const Batch batches[] = {even("32 x 8192", 32, 8192), even("64 x 2048", 64, 2048), even("256 x 1500", 256, 1500), even("1 x 131072", 1, 131072),
                           even("1 x 512", 1, 512),     even("1 x 4096", 1, 4096),   even("8 x 512", 8, 512),       even("32 x 512", 32, 512), even("256 x 100", 256, 100), {"64 x 64..8192", ragged}};
  for (const Batch& batch : batches) {
    double bf16 = 0;
    for (Format format : {Format::bf16, Format::int8, Format::e4m3, Format::fp16, Format::e5m2}) {
      const Shape shape{format};
      const Result result = run_decode(stream, shape, batch, false);
      if (format == Format::bf16) bf16 = result.time;
      std::printf("%-14s %-4s %8.1f MB %8.1f us %5.0f GB/s (%3.0f%%) %.2fx of bf16\n", batch.name, kvant::format_name(format), result.bytes / 1e6,
                  result.time * 1e6, result.bytes / result.time / 1e9, 100 * result.bytes / result.time / read, bf16 / result.time);
      std::fflush(stdout);
    }
  }
  for (const auto& [name, heads, kv_heads, dim] : {std::tuple<const char*, int, int, int>{"qwen2.5-0.5b", 14, 2, 64}, {"llama2-7b", 32, 32, 128}, {"llama3-70b", 64, 8, 128}}) {
    for (Format format : {Format::bf16, Format::int8, Format::e4m3}) {
      Shape shape{format};
      shape.heads = heads, shape.kv_heads = kv_heads, shape.head_dim = dim;
      const Result result = run_decode(stream, shape, even("32 x 4096", 32, 4096), false);
      std::printf("32 x 4096 %s %-4s %8.1f MB %8.1f us %5.0f GB/s (%3.0f%%)\n", name, kvant::format_name(format), result.bytes / 1e6, result.time * 1e6,
                  result.bytes / result.time / 1e9, 100 * result.bytes / result.time / read);
    }
  }
  for (const Batch& batch : {even("1 x 512", 1, 512), even("64 x 2048", 64, 2048)}) {
    for (Format format : {Format::bf16, Format::int8}) {
      const double before = run_decode(stream, Shape{format}, batch, false, Store::before).time, within = run_decode(stream, Shape{format}, batch, false, Store::within).time;
      std::printf("%s %s with qkv_store before %.1f us, within attention %.1f us\n", batch.name, kvant::format_name(format), before * 1e6, within * 1e6);
    }
  }
  const Result before = run_decode(stream, Shape{Format::int8}, even("", 32, 8192), true);
  std::printf("deterministic: 32 x 8192 int8 %8.1f us %5.0f GB/s\n", before.time * 1e6, before.bytes / before.time / 1e9);
}

}  // namespace

int main(int count, char** arguments) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_attention_bench: no CUDA device\n");
    return 0;
  }
  cudaDeviceProp device;
  succeed(cudaGetDeviceProperties(&device, 0), "device");
  cudaStream_t stream;
  succeed(cudaStreamCreate(&stream), "stream");
  double read = 0, steps = 0;
  {
    const Device<float> source(size_t{1} << 28);
    const Device<uint32_t> word(1);
    fill_random<<<4096, 256>>>(source.data(), source.count(), 1, 1, 0);
    for (int blocks : {4, 8, 16}) {
      read = std::max(read, static_cast<double>(source.count()) * 4 / seconds(stream, [&] {
        read_probe<<<device.multiProcessorCount * blocks, 512, 0, stream>>>(reinterpret_cast<const uint4*>(source.data()), source.count() / 4, word.data());
      }));
    }
    steps = device.multiProcessorCount * 8.0 * kProbeSteps * kProbeChains * 2 * 16 * 8 * 16 /
            seconds(stream, [&] { tensor_probe<<<device.multiProcessorCount, 256, 0, stream>>>(word.data()); });
  }
  std::printf("%s: read probe %.0f GB/s, mma.sync probe %.0f TFLOP/s\n", device.name, read / 1e9, steps / 1e12);

  const std::string only = count > 1 ? arguments[1] : "";
  if (only != "prefill") bench_decode(stream, read);
  if (only != "decode") bench_prefill(stream, read, steps, count > 2 ? arguments[2] : "");
  return 0;
}
