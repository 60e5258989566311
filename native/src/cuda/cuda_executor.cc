#include "cuda/cuda_executor.h"

#include <algorithm>
#include <cmath>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/op_kernels.h"
#include "kvant/cuda/calibration.h"
#include "plan/check_value.h"
#include "plan/format_names.h"
#include "plan/overloaded.h"

namespace kvant::cuda {
namespace {

Plan validated(Plan plan, const PlanLimits& limits) {
  validate_plan(plan, limits);
  return plan;
}

DeviceMemory upload(const void* values, size_t bytes, const std::string& purpose) {
  DeviceMemory memory(bytes, purpose);
  if (bytes > 0) check(cudaMemcpy(memory.data(), values, bytes, cudaMemcpyHostToDevice), "copying " + purpose);
  return memory;
}

}  // namespace

CudaExecutor::CudaExecutor(Plan plan, const ExecutorOptions& options)
    : plan_(validated(std::move(plan), options.limits)),
      limits_(options.limits),
      matrix_options_{.deterministic = options.deterministic},
      stream_(device_index(options.device)),
      attention_mode_(attention_mode(plan_.context_length, options.deterministic)) {
  weights_.reserve(plan_.weights.size());
  for (size_t i = 0; i < plan_.weights.size(); i++) {
    weights_.emplace_back(plan_.weights[i], "weight " + std::to_string(i), matrix_options_);
  }
  find_hand_overs();
  allocate_buffers();
  allocate_kv();
  fill_ropes();
  allocate_scratch();
  allocate_row_states();
  check(cudaDeviceSynchronize(), "preparing the device");
}

CudaExecutor::~CudaExecutor() {
  try {
    stream_.enter();
  } catch (const Error&) {
    // The context is lost, and with it what waits to be freed.
  }
  cudaStreamSynchronize(stream_.get());
}

void CudaExecutor::allocate_buffers() {
  std::vector<size_t> bytes(plan_.buffers.size());
  for (const BufferSpec& spec : plan_.buffers) {
    size_t& slot = bytes[static_cast<size_t>(spec.slot)];
    slot = std::max(slot, static_cast<size_t>(spec.width * whole_token_units(limits_.max_rows_of(spec.rows))) * sizeof(float));
  }
  for (size_t slot : bytes) slots_.emplace_back(slot, "activations");
}

void CudaExecutor::allocate_kv() {
  std::vector<GroupTable> tables;
  for (const KvGroupSpec& spec : plan_.kv_groups) {
    PageTables host_tables(limits_.max_rows, plan_.context_length, spec.page_tokens);
    const int64_t stride = host_tables.stride();
    std::vector<float> statics = spec.k_static;
    statics.insert(statics.end(), spec.v_static.begin(), spec.v_static.end());
    KvGroup group{DeviceMemory(static_cast<size_t>(spec.page_bytes * spec.page_count), "KV pages"),
                  DeviceMemory(static_cast<size_t>(limits_.max_rows * stride) * sizeof(int32_t), "page tables"),
                  upload(statics.data(), statics.size() * sizeof(float), "KV scales"),
                  HostPages(spec.host_page_count, spec.page_bytes), std::move(host_tables), KvPages{}};
    KvPages& view = group.view;
    view.base = group.pages.as<uint8_t>();
    view.page_bytes = spec.page_bytes;
    view.layer_bytes = spec.layer_bytes;
    view.k_codes = spec.k_codes;
    view.v_codes = spec.v_codes;
    view.k_scales = spec.k_scales;
    view.v_scales = spec.v_scales;
    view.page_tokens = spec.page_tokens;
    view.kv_heads = spec.kv_heads;
    view.head_dim = spec.head_dim;
    view.layer_count = spec.layer_count;
    view.window = spec.window;
    view.format = spec.format;
    view.k_static = spec.k_static.empty() ? nullptr : group.statics.as<float>();
    view.v_static = spec.v_static.empty() ? nullptr : group.statics.as<float>() + spec.k_static.size();
    view.tables = group.tables.as<int32_t>();
    view.table_stride = stride;
    tables.push_back({group.tables.as<int32_t>(), stride});
    kv_groups_.push_back(std::move(group));
  }
  group_tables_ = upload(tables.data(), tables.size() * sizeof(GroupTable), "the list of page tables");
}

// As the CPU: cos and sin in double precision, times the magnitude, rounded once to float32.
void CudaExecutor::fill_ropes() {
  for (const RopeSpec& spec : plan_.ropes) {
    const auto half = static_cast<int64_t>(spec.inverse_frequencies.size());
    std::vector<float> cosines(static_cast<size_t>(plan_.context_length * half)), sines(cosines.size());
    for (size_t i = 0; i < cosines.size(); i++) {
      const auto at = static_cast<int64_t>(i);
      const double angle = static_cast<double>(at / half) * spec.inverse_frequencies[static_cast<size_t>(at % half)];
      cosines[i] = static_cast<float>(std::cos(angle) * spec.magnitude);
      sines[i] = static_cast<float>(std::sin(angle) * spec.magnitude);
    }
    const size_t bytes = cosines.size() * sizeof(float);
    ropes_.push_back({upload(cosines.data(), bytes, "rotary tables"), upload(sines.data(), bytes, "rotary tables")});
  }
}

void CudaExecutor::allocate_scratch() {
  size_t workspace = 0, attention = 0;
  for (const Op& op : plan_.ops) {
    if (const auto* linear = std::get_if<LinearOp>(&op)) {
      const int64_t rows = limits_.max_rows_of(buffer_spec(linear->x).rows);
      workspace = std::max(workspace, weights_[static_cast<size_t>(linear->weight)].matrix().workspace_bytes(rows));
    } else if (const auto* attend = std::get_if<AttentionOp>(&op)) {
      attention = std::max(attention, attention_scratch_bytes(attention_mode_, attention_shape(*attend), limits_.max_tokens));
    }
  }
  workspace_ = DeviceMemory(workspace, "the workspace of linear ops");
  attention_scratch_ = DeviceMemory(attention, "attention scratch");
  if (attention > 0) prepare_attention(attention_scratch_.data(), stream_.get());

  const auto tokens = static_cast<size_t>(limits_.max_tokens), logit_rows = static_cast<size_t>(limits_.max_logit_rows);
  const auto rows = static_cast<size_t>(limits_.max_rows);
  step_memory_ = DeviceMemory((3 * tokens + logit_rows + 2 * rows) * sizeof(int32_t), "step inputs");
  auto* const start = step_memory_.as<int32_t>();
  results_ = DeviceMemory(kRowResultsAt + rows * sizeof(RowResult), "step results");
  for (Bank& bank : banks_) bank.results = PinnedMemory(results_.bytes(), "step results");
  scores_ = DeviceMemory(logit_rows * sizeof(float), "scores");
  score_rows_ = DeviceMemory(2 * logit_rows * sizeof(int32_t), "scored rows");
  arrays_.ids = start;
  arrays_.positions = start + tokens;
  arrays_.slots = start + 2 * tokens;
  arrays_.logit_tokens = start + 3 * tokens;
  arrays_.sampled = reinterpret_cast<SampledRow*>(start + 3 * tokens + logit_rows);
  arrays_.saturations = results_.as<unsigned long long>();
  arrays_.groups = group_tables_.as<GroupTable>();
}

void CudaExecutor::allocate_row_states() {
  const auto rows = static_cast<size_t>(limits_.max_rows);
  const size_t vocab = plan_.logits == kAbsent ? 0 : static_cast<size_t>(plan_.vocab_size);
  samplings_ = DeviceMemory(rows * sizeof(DeviceSampling), "sampling parameters");
  in_prompt_ = DeviceMemory(rows * vocab, "prompt ids");
  output_counts_ = DeviceMemory(rows * vocab * sizeof(int32_t), "counts of output ids");
  output_lengths_ = DeviceMemory(rows * sizeof(int32_t), "output lengths");
  last_sampled_ = DeviceMemory(rows * sizeof(int32_t), "sampled tokens");
  states_ = {samplings_.as<DeviceSampling>(), in_prompt_.as<uint8_t>(), output_counts_.as<int32_t>(),
             output_lengths_.as<int32_t>(), last_sampled_.as<int32_t>()};
  arrays_.last_sampled = states_.last_sampled;
  slot_lists_.resize(rows);
  has_sampled_.resize(rows);
  if (vocab > 0) sampler_scratch_ = DeviceMemory(sampler_scratch_bytes(plan_.vocab_size, limits_.max_rows), "sampler scratch");
  const std::vector<DeviceSampling> defaults(rows);
  check(cudaMemcpy(samplings_.data(), defaults.data(), samplings_.bytes(), cudaMemcpyHostToDevice), "sampling parameters");
}

const BufferSpec& CudaExecutor::buffer_spec(int64_t index) const { return plan_.buffers[static_cast<size_t>(index)]; }

float* CudaExecutor::buffer(int64_t index) const {
  return slots_[static_cast<size_t>(buffer_spec(index).slot)].as<float>();
}

RopeTables CudaExecutor::rope_tables(int index) const {
  if (index == kAbsent) return {};
  const Rope& rope = ropes_[static_cast<size_t>(index)];
  return {rope.cos.as<float>(), rope.sin.as<float>()};
}

const float* CudaExecutor::optional_vector(int index) const {
  return index == kAbsent ? nullptr : weights_[static_cast<size_t>(index)].vector();
}

void CudaExecutor::load_weight(int64_t index, int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source,
                               size_t source_bytes) {
  check_range("a weight index", index, 0, static_cast<int64_t>(weights_.size()) - 1);
  stream_.enter();
  weights_[static_cast<size_t>(index)].load(row_offset, rows, dtype, source, source_bytes, staging_, stream_.get());
  end_load();
}

void CudaExecutor::load_codes(int64_t index, int64_t row_offset, int64_t rows, const CodedSource& source) {
  check_range("a weight index", index, 0, static_cast<int64_t>(weights_.size()) - 1);
  stream_.enter();
  weights_[static_cast<size_t>(index)].load(row_offset, rows, source, staging_, stream_.get());
  end_load();
}

void CudaExecutor::end_load() {
  const bool all = std::all_of(weights_.begin(), weights_.end(), [](const DeviceWeight& weight) { return weight.complete(); });
  if (!all) return;
  check(cudaStreamSynchronize(stream_.get()), "loading weights");
  staging_.release();
}

void CudaExecutor::check_complete() const {
  for (size_t i = 0; i < weights_.size(); i++) {
    if (!weights_[i].complete()) throw invalid("weight " + std::to_string(i) + " has rows that were never loaded");
  }
}

void CudaExecutor::write_buffer(int64_t index, const float* values, size_t count) {
  check_range("a buffer index", index, 0, static_cast<int64_t>(plan_.buffers.size()) - 1);
  const BufferSpec& spec = buffer_spec(index);
  check_equal("values.length modulo the width of " + std::to_string(spec.width), static_cast<int64_t>(count) % spec.width, 0);
  check_range("the number of rows", static_cast<int64_t>(count) / spec.width, 0, limits_.max_rows_of(spec.rows));
  stream_.enter();
  check(cudaMemcpy(buffer(index), values, count * sizeof(float), cudaMemcpyHostToDevice), "writing a buffer");
}

void CudaExecutor::read_buffer(int64_t index, int64_t rows, float* to, size_t count) const {
  check_range("a buffer index", index, 0, static_cast<int64_t>(plan_.buffers.size()) - 1);
  check_range("the number of rows", rows, 0, limits_.max_rows_of(buffer_spec(index).rows));
  check_equal("the number of values", static_cast<int64_t>(count), rows * buffer_spec(index).width);
  stream_.enter();
  check(cudaMemcpy(to, buffer(index), count * sizeof(float), cudaMemcpyDeviceToHost), "reading a buffer");
}

void CudaExecutor::gather(int64_t index, int64_t rows, CudaCalibration& into) const {
  check_range("a buffer index", index, 0, static_cast<int64_t>(plan_.buffers.size()) - 1);
  check_range("the number of rows", rows, 0, limits_.max_rows_of(buffer_spec(index).rows));
  check_equal("the width of the statistics", into.width(), buffer_spec(index).width);
  stream_.enter();
  into.add_on_device(buffer(index), rows, stream_.get());
}

std::vector<uint8_t> CudaExecutor::read_page(int64_t group, int64_t page) const {
  check_range("a KV group", group, 0, static_cast<int64_t>(kv_groups_.size()) - 1);
  const KvGroupSpec& spec = plan_.kv_groups[static_cast<size_t>(group)];
  check_range("a page", page, 0, spec.page_count - 1);
  stream_.enter();
  std::vector<uint8_t> bytes(static_cast<size_t>(spec.page_bytes));
  const uint8_t* const source = kv_groups_[static_cast<size_t>(group)].view.base + page * spec.page_bytes;
  check(cudaMemcpy(bytes.data(), source, bytes.size(), cudaMemcpyDeviceToHost), "reading a page");
  return bytes;
}

std::vector<std::string> CudaExecutor::variants() const {
  const auto with_kv = [&](const char* op, int group) {
    return std::string(op) + "_" + format_name(plan_.kv_groups[static_cast<size_t>(group)].format) + "_cuda";
  };
  const Overloaded name{
      [&](const EmbedOp& op) {
        return std::string("embed_") + format_name(weights_[static_cast<size_t>(op.table)].table_format()) + "_cuda";
      },
      [&](const RmsNormOp& op) { return std::string(op.residual == kAbsent ? "rms_norm_cuda" : "add_rms_norm_cuda"); },
      [&](const LinearOp& op) { return weights_[static_cast<size_t>(op.weight)].matrix().variant(1); },
      [&](const AddOp&) { return std::string("add_cuda"); },
      [&](const RopeOp&) { return std::string("rope_cuda"); },
      [&](const KvWriteOp& op) { return with_kv("kv_write", op.group); },
      [&](const QkvStoreOp& op) { return with_kv("qkv_store", op.group); },
      [&](const AttentionOp& op) { return attention_variant(attention_mode_, StepRows::any, attention_shape(op)); },
      [&](const GatedMulOp& op) { return std::string(op.function == Gate::silu ? "silu_mul_cuda" : "gelu_mul_cuda"); },
      [&](const GatherRowsOp&) { return std::string("gather_rows_cuda"); },
  };
  std::vector<std::string> names;
  for (const Op& op : plan_.ops) names.push_back(std::visit(name, op));
  return names;
}

ExecutorMemory CudaExecutor::memory() const {
  ExecutorMemory memory;
  for (const DeviceWeight& weight : weights_) memory.weights.push_back(weight.bytes());
  for (const KvGroup& group : kv_groups_) memory.kv += group.pages.bytes();
  for (const DeviceMemory& slot : slots_) memory.activations += slot.bytes();
  memory.activations += workspace_.bytes() + attention_scratch_.bytes() + sampler_scratch_.bytes();
  return memory;
}

}  // namespace kvant::cuda
