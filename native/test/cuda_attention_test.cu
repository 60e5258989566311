// Attention on the device against double precision: formats, head dims, groups, page sizes, windows, static and dynamic scales,
// ragged batches, chunks beside single tokens, padding; contexts up to 131072. Positions that a token must not see hold NaN
// until a later token of the row writes them. Skips aloud where there is no device.
//   cuda_attention_test [chunks]     chunks alone, by two blocks
#include <cstring>

#include "cuda/codes.cuh"
#include "cuda_attention_fixture.h"

namespace {

using namespace kvant_test;
using kvant::cuda::AttentionMode;
using kvant::cuda::QkvWork;
using kvant::cuda::StepRows;

// Largest difference over the largest magnitude. Single tokens: as packages/kernels error-budgets.ts.
constexpr double kDecodeBudget = 2e-6;
// Queries (other than over INT8 pages) and softmax weights round to fp16 or bf16 once.
double prefill_budget(Format format) { return format == Format::bf16 ? 1e-2 : 2e-3; }

int failures = 0;

template <Format format>
__global__ void reference_kernel(kvant::AttentionArgs args, kvant::StepTokens tokens, kvant::KvPages pages, double* logits,
                                 int64_t stride, double* out) {
  using Codes = kvant::cuda::Codes<format>;
  using Code = typename Codes::Code;
  __shared__ double shared[256];
  const int64_t token = blockIdx.x, item = token * args.heads + blockIdx.y;
  const int head_dim = pages.head_dim, kv_head = blockIdx.y / (args.heads / pages.kv_heads), slot = tokens.slots[token];
  if (slot < 0) {
    for (int d = threadIdx.x; d < head_dim; d += blockDim.x) out[item * head_dim + d] = 0;
    return;
  }
  const float* const q = args.q + item * head_dim;
  float q_scale = 1;
  if (format == Format::int8) {
    float most = 0;
    for (int d = 0; d < head_dim; d++) most = fmaxf(most, fabsf(q[d]));
    q_scale = most / 127.0f;
  }
  const int last = tokens.positions[token], first = pages.window > 0 ? max(0, last - pages.window + 1) : 0;
  const auto place = [&](int position, int64_t codes, int64_t bytes) {
    const int64_t page = pages.tables[slot * pages.table_stride + position / pages.page_tokens];
    return pages.base + page * pages.page_bytes + args.layer * pages.layer_bytes + codes +
           (int64_t{kv_head} * pages.page_tokens + position % pages.page_tokens) * bytes;
  };
  const auto scale = [&](const float* statics, int64_t scales, int position) -> double {
    if (sizeof(Code) > 1) return 1;
    if (statics != nullptr) return statics[args.layer * pages.kv_heads + kv_head];
    return *reinterpret_cast<const float*>(place(position, scales, 4));
  };
  double* const mine = logits + item * stride;
  double most = -1e300;
  for (int position = first + static_cast<int>(threadIdx.x); position <= last; position += blockDim.x) {
    const Code* const k = reinterpret_cast<const Code*>(place(position, pages.k_codes, head_dim * sizeof(Code)));
    double sum = 0;
    for (int d = 0; d < head_dim; d++) {
      double x = q[d];
      if (format == Format::int8) x = q_scale == 0 ? 0.0 : static_cast<double>(Codes::decode(Codes::encode(q[d] / q_scale))) * q_scale;
      sum += x * static_cast<double>(Codes::decode(k[d]));
    }
    mine[position - first] = sum * scale(pages.k_static, pages.k_scales, position) * args.scale;
    most = fmax(most, mine[position - first]);
  }
  shared[threadIdx.x] = most;
  __syncthreads();
  for (int i = 0; i < static_cast<int>(blockDim.x); i++) most = fmax(most, shared[i]);
  for (int position = first + static_cast<int>(threadIdx.x); position <= last; position += blockDim.x) {
    mine[position - first] = exp(mine[position - first] - most);
  }
  __syncthreads();
  for (int d = threadIdx.x; d < head_dim; d += blockDim.x) {
    double sum = 0, total = 0;
    for (int position = first; position <= last; position++) {
      const Code* const v = reinterpret_cast<const Code*>(place(position, pages.v_codes, head_dim * sizeof(Code)));
      total += mine[position - first];
      sum += mine[position - first] * scale(pages.v_static, pages.v_scales, position) * static_cast<double>(Codes::decode(v[d]));
    }
    out[item * head_dim + d] = sum / total;
  }
}

std::vector<double> reference(const Shape& shape, const Step& step, const kvant::KvPages& pages, int64_t longest) {
  const Device<double> logits(static_cast<size_t>(step.tokens.count * shape.heads * longest)), out(step.out.count());
  const dim3 grid(static_cast<unsigned>(step.tokens.count), static_cast<unsigned>(shape.heads));
  kvant::cuda::with_format(shape.format, [&](auto tag) {
    reference_kernel<decltype(tag)::format><<<grid, 256>>>(step.args, step.tokens, pages, logits.data(), longest, out.data());
  });
  succeed(cudaDeviceSynchronize(), "reference");
  return out.download();
}

// As a graph of two launches.
template <class Launch>
void replay(const Launch& launch, const char* what) {
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  succeed(cudaStreamCreate(&stream), what);
  succeed(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), what);
  launch(stream);
  launch(stream);
  succeed(cudaStreamEndCapture(stream, &graph), what);
  succeed(cudaGraphInstantiate(&executable, graph, 0), what);
  succeed(cudaDeviceSynchronize(), what);
  succeed(cudaGraphLaunch(executable, stream), what);
  succeed(cudaStreamSynchronize(stream), what);
  cudaGraphExecDestroy(executable);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

const std::vector<Row> kSingles = {{0, 0, 1}, {1, 14, 1}, {2, 15, 1}, {3, 16, 1}, {4, 300, 1}, {-1, 0, 1}, {5, 1037, 1}, {6, 63, 1}, {-1, 0, 1}};

const std::vector<Row> kMixed = {{0, 0, 40}, {1, 100, 1}, {2, 77, 3}, {3, 500, 9}, {4, 1000, 1}, {5, 0, 150}, {6, 250, 70}, {7, 31, 7}, {8, 640, 65}};

const std::vector<Row> kChunks = {{0, 0, 200}, {1, 333, 90}, {2, 5, 8}, {3, 1023, 33}};

std::vector<int> contexts_of(const std::vector<Row>& rows) {
  std::vector<int> contexts;
  for (const Row& row : rows) {
    if (row.slot < 0) continue;
    if (row.slot >= static_cast<int>(contexts.size())) contexts.resize(static_cast<size_t>(row.slot) + 1, 1);
    contexts[static_cast<size_t>(row.slot)] = row.position + row.count;
  }
  return contexts;
}

StepRows kind_of(const std::vector<Row>& rows) {
  const bool single = std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.count == 1; });
  const bool chunks = std::all_of(rows.begin(), rows.end(), [](const Row& row) { return row.count >= kvant::cuda::kLongRow; });
  return single ? StepRows::single : chunks ? StepRows::chunks : StepRows::any;
}

// Attention that turns queries, stores as far as it can and rounds against qkv_store, attention and rounding: pages and outputs bit for
// bit.
void check_extras(const Shape& shape, const std::vector<Row>& rows, bool turns, bool norms, uint32_t seed) {
  const std::vector<int> contexts = contexts_of(rows);
  const StepRows kind = kind_of(rows);
  const int64_t longest = *std::max_element(contexts.begin(), contexts.end());
  const Sequences sequences(shape, contexts, seed);
  const Step step(shape, rows, seed + 5);
  const size_t tokens = static_cast<size_t>(step.tokens.count), half = static_cast<size_t>(shape.head_dim / 2);
  const Device<float> qkv(tokens * static_cast<size_t>((shape.heads + 2 * shape.kv_heads) * shape.head_dim)), weights(4 * half);
  const Device<float> cosines(static_cast<size_t>(longest) * half), sines(cosines.count());
  fill_random<<<256, 256>>>(qkv.data(), qkv.count(), seed + 1, 1, 0);
  fill_random<<<256, 256>>>(weights.data(), weights.count(), seed + 2, 1, 0);
  fill_random<<<256, 256>>>(cosines.data(), cosines.count(), seed + 3, 1, 0);
  fill_random<<<256, 256>>>(sines.data(), sines.count(), seed + 4, 1, 0);
  kvant::QkvStoreArgs args{.qkv = qkv.data(), .q_out = step.q.data(), .heads = shape.heads, .layer = 1};
  if (norms) args.q_norm = weights.data(), args.k_norm = weights.data() + 2 * half, args.epsilon = 1e-5f;
  if (turns) args.rope = {cosines.data(), sines.data()};
  const Device<unsigned long long> clipped(std::vector<unsigned long long>(2, 0));
  const AttentionMode mode = kvant::cuda::attention_mode(longest, false);
  const Device<uint8_t> scratch(kvant::cuda::attention_scratch_bytes(mode, attention_shape(shape), step.tokens.count));
  kvant::cuda::prepare_attention(scratch.data(), nullptr);
  const std::vector<uint8_t> before = sequences.download();
  kvant::cuda::qkv_store(args, step.tokens, sequences.pages, clipped.data(), nullptr);
  kvant::cuda::attention(mode, kind, step.args, step.tokens, sequences.pages, {}, scratch.data(), nullptr);
  const std::vector<float> expected = step.out.download();
  const std::vector<uint8_t> stored = sequences.download();
  const std::string name = name_of(shape) + (turns ? ", rotary" : "") + (norms ? ", norms" : "");
  const QkvWork work = kvant::cuda::attention_work(mode, kind, attention_shape(shape));
  if (work != (kind == StepRows::single ? QkvWork::all : QkvWork::queries)) {
    failures++;
    std::printf("FAILED attention leaves work to qkv_store, %s\n", name.c_str());
  }
  for (Format rounded : {Format::fp32, Format::bf16, Format::fp16}) {
    sequences.upload(before);
    succeed(cudaMemset(step.q.data(), 0xff, step.q.count() * sizeof(float)), "memset");
    succeed(cudaMemset(step.out.data(), 0xff, step.out.count() * sizeof(float)), "memset");
    succeed(cudaMemset(clipped.data() + 1, 0, 8), "memset");
    const Device<uint16_t> halves(step.out.count());
    kvant::cuda::AttentionExtras extras;
    extras.work = work;
    extras.qkv = args;
    extras.qkv.q_out = nullptr;
    extras.saturations = clipped.data() + 1;
    if (rounded != Format::fp32) extras.rounded = halves.data(), extras.rounded_format = rounded;
    const auto launch = [&](cudaStream_t stream) {
      if (work == QkvWork::queries) kvant::cuda::qkv_store(extras.qkv, step.tokens, sequences.pages, extras.saturations, stream);
      kvant::cuda::attention(mode, kind, step.args, step.tokens, sequences.pages, extras, scratch.data(), stream);
    };
    if (rounded == Format::fp32) launch(nullptr);
    else replay(launch, "a graph that stores");
    succeed(cudaDeviceSynchronize(), "attention that stores");
    size_t wrong = 0, wrong_bytes = 0;
    const std::vector<float> got = step.out.download();
    const std::vector<uint16_t> got_halves = halves.download();
    for (size_t i = 0; i < got.size(); i++) {
      if (rounded == Format::fp32) wrong += std::memcmp(&got[i], &expected[i], sizeof(float)) != 0;
      else wrong += got_halves[i] != kvant::linear::encode_float(expected[i], kvant::linear::float_definition(rounded));
    }
    const std::vector<uint8_t> bytes = sequences.download();
    for (size_t i = 0; i < bytes.size(); i++) wrong_bytes += bytes[i] != stored[i];
    const std::vector<unsigned long long> counts = clipped.download();
    const unsigned long long times = rounded == Format::fp32 ? 1 : 2;
    if (wrong + wrong_bytes == 0 && counts[1] == times * counts[0]) continue;
    failures++;
    std::printf("FAILED attention that turns queries or stores, %s, outputs in %s: %zu of %zu outputs and %zu bytes of pages differ, %llu clipped for %llu\n", name.c_str(),
                kvant::format_name(rounded), wrong, got.size(), wrong_bytes, counts[1], times * counts[0]);
  }
}

struct Worst {
  double single = 0, chunk = 0;
};

// few: on two multiprocessors, so that each block has many items.
Worst run_case(const Shape& shape, const std::vector<Row>& rows, bool deterministic, uint32_t seed, int spread, const char* what, bool print, bool few = false) {
  const std::vector<int> contexts = contexts_of(rows);
  const int64_t longest = *std::max_element(contexts.begin(), contexts.end());
  const Sequences sequences(shape, contexts, seed, spread);
  const Step step(shape, rows, seed + 5, 2.0f);
  AttentionMode mode = kvant::cuda::attention_mode(longest, deterministic);
  if (few) mode.multiprocessors = 2;
  const StepRows kind = kind_of(rows);
  const Device<uint8_t> scratch(kvant::cuda::attention_scratch_bytes(mode, attention_shape(shape), step.tokens.count));
  kvant::cuda::prepare_attention(scratch.data(), nullptr);
  const auto launch = [&](cudaStream_t stream) {
    kvant::cuda::attention(mode, kind, step.args, step.tokens, sequences.pages, {}, scratch.data(), stream);
  };
  launch(nullptr);
  succeed(cudaMemset(step.out.data(), 0xff, step.out.count() * sizeof(float)), "memset");
  if (kind == StepRows::single) {
    replay(launch, what);
  } else {
    launch(nullptr);  // finds what the first left in the scratch
  }
  succeed(cudaDeviceSynchronize(), what);
  const std::vector<float> got = step.out.download();
  const std::vector<double> expected = reference(shape, step, sequences.pages, longest);
  double most = 0;
  for (double x : expected) most = std::max(most, std::fabs(x));
  Worst worst;
  size_t token = 0, worst_at = 0;
  const size_t width = static_cast<size_t>(shape.heads * shape.head_dim);
  for (const Row& row : rows) {
    double& to = row.count >= kvant::cuda::kLongRow && !deterministic && row.slot >= 0 ? worst.chunk : worst.single;
    for (size_t i = token * width; i < (token + static_cast<size_t>(row.count)) * width; i++) {
      const double error = std::isnan(got[i]) ? 1e30 : std::fabs(got[i] - expected[i]) / most;
      if (row.slot < 0 && got[i] != 0) to = 1e30;
      if (error > to) to = error, worst_at = i;
    }
    token += static_cast<size_t>(row.count);
  }
  const std::string variant = kvant::cuda::attention_variant(mode, kind, attention_shape(shape));
  const bool good = worst.single <= kDecodeBudget && worst.chunk <= prefill_budget(shape.format);
  if (!good) failures++;
  if (print || (!good && failures < 40)) {
    std::printf("%s %s, %s, %s: single tokens %.2e, chunks %.2e", good ? "ok" : "FAILED", what, variant.c_str(), name_of(shape).c_str(), worst.single, worst.chunk);
    if (!good) std::printf(" (token %zu, head %zu, dim %zu: %g for %g)", worst_at / width, worst_at % width / shape.head_dim, worst_at % shape.head_dim, got[worst_at], expected[worst_at]);
    std::printf("\n");
  }
  return worst;
}

struct Case {
  Shape shape;
  int spread;
};

std::vector<Case> cases() {
  std::vector<Case> out;
  for (Format format : {Format::int8, Format::e4m3, Format::bf16, Format::fp16, Format::e5m2, Format::fp32}) {
    const bool scaled = kvant::bits(format) == 8;
    const auto add = [&](int dim, int heads, int kv_heads, int page, int window, bool is_static, int spread = 0) {
      if (!is_static || scaled) out.push_back({{format, dim, heads, kv_heads, page, window, is_static}, spread});
    };
    add(128, 8, 2, 16, 0, false);
    add(128, 8, 2, 16, 0, false, 6);
    add(128, 2, 2, 64, 100, false);
    add(128, 6, 2, 32, 0, true);
    add(128, 14, 2, 32, 37, false);
    add(128, 16, 2, 64, 0, true);
    add(128, 12, 1, 16, 0, false, 3);
    add(64, 14, 2, 16, 0, false);
    add(64, 8, 4, 64, 0, true);
    add(64, 3, 3, 32, 17, false, 4);
    add(96, 4, 4, 16, 0, false);
    add(96, 6, 1, 32, 200, true);
    add(256, 4, 2, 16, 0, false);
    add(256, 6, 1, 64, 128, false, 5);
    add(80, 6, 2, 16, 0, false);
    add(10, 3, 3, 16, 5, false);
    if (scaled) {
      add(128, 8, 2, 16, 0, false, kLate);
      add(64, 8, 2, 32, 0, false, kLate);
      add(256, 4, 2, 16, 0, false, 90);
    }
  }
  return out;
}

}  // namespace

int main(int argument_count, char** arguments) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("SKIPPED cuda_attention_test: no CUDA device\n");
    return 0;
  }
  uint32_t seed = 20240611;
  std::printf("seed %u\n", seed);
  const auto end = [] {
    std::printf(failures == 0 ? "ok\n" : "FAILED: %d cases\n", failures);
    return failures != 0;
  };
  if (argument_count > 1 && std::strcmp(arguments[1], "chunks") == 0) {
    for (const Case& one : cases()) run_case(one.shape, kChunks, false, ++seed, one.spread, "chunks", false, true);
    return end();
  }
  for (Format format : {Format::int8, Format::e4m3, Format::bf16, Format::fp16, Format::e5m2, Format::fp32}) {
    Worst worst;
    int count = 0;
    for (const Case& one : cases()) {
      if (one.shape.format != format) continue;
      for (bool deterministic : {false, true}) {
        for (const auto& [what, rows] : {std::pair{"single tokens", kSingles}, {"chunks and single tokens", kMixed}, {"chunks", kChunks}}) {
          const Worst found = run_case(one.shape, rows, deterministic, ++seed, one.spread, what, false);
          worst.single = std::max(worst.single, found.single), worst.chunk = std::max(worst.chunk, found.chunk);
          count++;
        }
      }
    }
    std::printf("%s: %d cases, largest error of single tokens %.2e, of chunks %.2e\n", kvant::format_name(format), count, worst.single, worst.chunk);
  }
  for (Format format : {Format::int8, Format::e4m3, Format::bf16, Format::fp16, Format::e5m2}) {
    const bool scaled = kvant::bits(format) == 8;
    for (const std::vector<Row>& rows : {kSingles, kMixed, kChunks}) {
      check_extras({format, 128, 8, 2, 16, 0, false}, rows, true, true, ++seed);
      check_extras({format, 128, 32, 2, 32, 0, scaled}, rows, true, false, ++seed);
      check_extras({format, 64, 14, 2, 64, 100, false}, rows, true, false, ++seed);
      check_extras({format, 256, 4, 2, 16, 0, scaled}, rows, false, true, ++seed);
      check_extras({format, 256, 6, 1, 32, 0, false}, rows, true, true, ++seed);
      check_extras({format, 128, 3, 3, 16, 0, false}, rows, true, false, ++seed);
      check_extras({format, 64, 12, 1, 16, 0, false}, rows, true, true, ++seed);
      run_case({format, 128, 8, 2, 16, 0, false}, rows, false, ++seed, 0, "two multiprocessors", false, true);
      run_case({format, 64, 14, 2, 32, 0, false}, rows, false, ++seed, 0, "two multiprocessors", false, true);
    }
  }
  // Chunks alone: those of decode sum before they divide by the total.
  for (Format format : {Format::int8, Format::e4m3, Format::e5m2}) {
    for (int dim : {64, 128}) run_case({format, dim, 8, 2, 16, 0, false}, kChunks, false, ++seed, kLateAndHuge, "values up to 1e38", false);
  }
  std::printf("attention that turns queries, stores keys and values and rounds outputs: compared\n");
  // More tokens than a launch of the decode kernel takes.
  std::vector<Row> many;
  for (int i = 0; i < 1500; i++) many.push_back({i % 3 == 2 ? -1 : i, i * 37 % 200, 1});
  run_case({Format::int8, 128, 4, 1, 16, 0, false}, many, false, ++seed, 0, "1500 single tokens", true);
  std::vector<Row> ragged;
  for (int i = 0; i < 300; i++) ragged.push_back({i, i * 7919 % 3000, 1});
  for (Format format : {Format::int8, Format::bf16}) {
    run_case({format, 128, 8, 2, 16, 0, false}, ragged, false, ++seed, 0, "300 tokens at up to 3000", true);
    run_case({format, 64, 14, 2, 32, 1000, false}, ragged, false, ++seed, 0, "300 tokens at up to 3000", true);
  }
  for (Format format : {Format::int8, Format::e4m3}) {
    run_case({format, 128, 8, 2, 16, 0, false}, {{0, 131071, 1}}, false, ++seed, 0, "one token at 131072", true);
    run_case({format, 128, 8, 2, 16, 0, false}, {{0, 131071 - 15, 16}}, false, ++seed, 0, "a chunk of 16 at 131072", true);
  }
  return end();
}
