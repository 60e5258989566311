#include "cpu/executor.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <new>
#include <stdexcept>

#include "plan/check_value.h"
#include "plan/format_names.h"
#include "plan/overloaded.h"

namespace kvant {
namespace {

Plan validated(Plan plan, const PlanLimits& limits) {
  validate_plan(plan, limits);
  return plan;
}

Tier tier_of(const std::string& name) {
  try {
    return choose_tier(name);
  } catch (const std::runtime_error& error) {
    throw Error("BACKEND_UNAVAILABLE", error.what());
  }
}

size_t round_up(size_t bytes, size_t multiple) { return (bytes + multiple - 1) / multiple * multiple; }

}  // namespace

Executor::Executor(Plan plan, const ExecutorOptions& options)
    : plan_(validated(std::move(plan), options.limits)),
      limits_(options.limits),
      tier_(tier_of(options.tier)),
      kernels_(op_kernels(tier_)),
      pool_(options.threads) {
  weights_.reserve(plan_.weights.size());
  for (size_t i = 0; i < plan_.weights.size(); i++) {
    weights_.emplace_back(plan_.weights[i], "weight " + std::to_string(i), tier_);
  }
  allocate_buffers();
  allocate_kv();
  fill_ropes();
  allocate_scratch();
}

void Executor::allocate_buffers() {
  std::vector<size_t> bytes(plan_.buffers.size());
  for (const BufferSpec& spec : plan_.buffers) {
    size_t& slot = bytes[static_cast<size_t>(spec.slot)];
    slot = std::max(slot, static_cast<size_t>(spec.width * limits_.max_rows_of(spec.rows)) * sizeof(float));
  }
  for (size_t slot : bytes) slots_.emplace_back(slot, "activations");
}

void Executor::allocate_kv() {
  for (const KvGroupSpec& spec : plan_.kv_groups) {
    PageMemory pages(static_cast<size_t>(spec.page_bytes * spec.page_count), "KV pages");
    PageMemory host_pages(static_cast<size_t>(spec.page_bytes * spec.host_page_count), "swapped KV pages");
    PageTables tables(limits_.max_rows, plan_.context_length, spec.page_tokens);
    KvPages view;
    view.base = pages.as<uint8_t>();
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
    view.k_static = spec.k_static.empty() ? nullptr : spec.k_static.data();
    view.v_static = spec.v_static.empty() ? nullptr : spec.v_static.data();
    view.tables = tables.data();
    view.table_stride = tables.stride();
    kv_groups_.push_back({std::move(pages), std::move(host_pages), std::move(tables), view});
  }
}

// cos and sin of position * inverse frequency in double precision, times the magnitude, rounded once to float32.
void Executor::fill_ropes() {
  for (const RopeSpec& spec : plan_.ropes) {
    const auto half = static_cast<int64_t>(spec.inverse_frequencies.size());
    const size_t bytes = static_cast<size_t>(plan_.context_length * half) * sizeof(float);
    Rope rope{PageMemory(bytes, "rotary tables"), PageMemory(bytes, "rotary tables")};
    float* const cosines = rope.cos.as<float>();
    float* const sines = rope.sin.as<float>();
    const auto fill = [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin * half; i < end * half; i++) {
        const double angle = static_cast<double>(i / half) * spec.inverse_frequencies[static_cast<size_t>(i % half)];
        cosines[i] = static_cast<float>(std::cos(angle) * spec.magnitude);
        sines[i] = static_cast<float>(std::sin(angle) * spec.magnitude);
      }
    };
    pool_.parallel_for(plan_.context_length, 256, std::ref(fill));
    ropes_.push_back(std::move(rope));
  }
}

void Executor::allocate_scratch() {
  size_t prepared = 0;
  for (const Op& op : plan_.ops) {
    if (const auto* linear = std::get_if<LinearOp>(&op)) {
      const int64_t rows = limits_.max_rows_of(buffer_spec(linear->x).rows);
      prepared = std::max(prepared, weights_[static_cast<size_t>(linear->weight)].matrix().prepared_bytes(rows));
    } else if (const auto* attention = std::get_if<AttentionOp>(&op)) {
      const KvPages& pages = kv_groups_[static_cast<size_t>(attention->group)].view;
      const size_t bytes = round_up(attention_scratch_bytes(attention->heads, pages), 64);
      attention_scratch_stride_ = std::max(attention_scratch_stride_, bytes);
    }
  }
  prepared_ = PageMemory(prepared, "prepared activations");
  attention_scratch_ = PageMemory(attention_scratch_stride_ * static_cast<size_t>(pool_.threads()), "attention scratch");
  try {
    rows_.resize(static_cast<size_t>(limits_.max_rows));
    if (plan_.logits != kAbsent) sampler_scratch_.assign(static_cast<size_t>(pool_.threads()), SamplerScratch(plan_.vocab_size));
    const auto max_tokens = static_cast<size_t>(limits_.max_tokens);
    for (auto* per_token : {&ids_, &positions_, &token_slots_}) per_token->resize(max_tokens);
    tiles_.reserve(max_tokens);
    logit_tokens_.reserve(static_cast<size_t>(limits_.max_logit_rows));
    for (auto* uses : {&sampled_, &kept_, &scored_}) uses->reserve(static_cast<size_t>(limits_.max_logit_rows));
  } catch (const std::bad_alloc&) {
    throw Error("OUT_OF_MEMORY", "no memory for the state of " + std::to_string(limits_.max_rows) + " rows and " +
                                     std::to_string(limits_.max_tokens) + " tokens");
  }
}

const BufferSpec& Executor::buffer_spec(int64_t index) const { return plan_.buffers[static_cast<size_t>(index)]; }

float* Executor::buffer(int64_t index) const { return slots_[static_cast<size_t>(buffer_spec(index).slot)].as<float>(); }

RopeTables Executor::rope_tables(int index) const {
  if (index == kAbsent) return {};
  const Rope& rope = ropes_[static_cast<size_t>(index)];
  return {rope.cos.as<float>(), rope.sin.as<float>()};
}

const float* Executor::optional_vector(int index) const {
  return index == kAbsent ? nullptr : weights_[static_cast<size_t>(index)].vector();
}

void Executor::load_weight(int64_t index, int64_t row_offset, int64_t rows, Format dtype, const uint8_t* source,
                           size_t source_bytes) {
  check_range("a weight index", index, 0, static_cast<int64_t>(weights_.size()) - 1);
  const ThreadPoolStep awake(pool_);
  weights_[static_cast<size_t>(index)].load(row_offset, rows, dtype, source, source_bytes, pool_);
}

void Executor::load_codes(int64_t index, int64_t row_offset, int64_t rows, const CodedSource& source) {
  check_range("a weight index", index, 0, static_cast<int64_t>(weights_.size()) - 1);
  const ThreadPoolStep awake(pool_);
  weights_[static_cast<size_t>(index)].load(row_offset, rows, source, pool_);
}

void Executor::check_complete() const {
  for (size_t i = 0; i < weights_.size(); i++) {
    if (!weights_[i].complete()) throw invalid("weight " + std::to_string(i) + " has rows that were never loaded");
  }
}

void Executor::write_buffer(int64_t index, const float* values, size_t count) {
  check_range("a buffer index", index, 0, static_cast<int64_t>(plan_.buffers.size()) - 1);
  const BufferSpec& spec = buffer_spec(index);
  check_equal("values.length modulo the width of " + std::to_string(spec.width), static_cast<int64_t>(count) % spec.width, 0);
  check_range("the number of rows", static_cast<int64_t>(count) / spec.width, 0, limits_.max_rows_of(spec.rows));
  std::copy_n(values, count, buffer(index));
}

void Executor::read_buffer(int64_t index, int64_t rows, float* to, size_t count) const {
  check_range("a buffer index", index, 0, static_cast<int64_t>(plan_.buffers.size()) - 1);
  check_range("the number of rows", rows, 0, limits_.max_rows_of(buffer_spec(index).rows));
  check_equal("the number of values", static_cast<int64_t>(count), rows * buffer_spec(index).width);
  std::copy_n(buffer(index), count, to);
}

void Executor::gather(int64_t, int64_t, CudaCalibration&) const {
  throw Error("OP_UNSUPPORTED", "buffers of the CPU are read, not gathered on a device");
}

std::vector<uint8_t> Executor::read_page(int64_t group, int64_t page) const {
  check_range("a KV group", group, 0, static_cast<int64_t>(kv_groups_.size()) - 1);
  const KvGroupSpec& spec = plan_.kv_groups[static_cast<size_t>(group)];
  check_range("a page", page, 0, spec.page_count - 1);
  const uint8_t* const bytes = kv_groups_[static_cast<size_t>(group)].view.base + page * spec.page_bytes;
  return {bytes, bytes + spec.page_bytes};
}

std::vector<std::string> Executor::variants() const {
  const std::string tier = tier_name(tier_);
  const auto with_kv = [&](const char* op, int group) {
    return std::string(op) + "_" + format_name(plan_.kv_groups[static_cast<size_t>(group)].format) + "_" + tier;
  };
  const Overloaded name{
      [&](const EmbedOp& op) {
        return std::string("embed_") + format_name(weights_[static_cast<size_t>(op.table)].table_format()) + "_" + tier;
      },
      [&](const RmsNormOp& op) { return (op.residual == kAbsent ? "rms_norm_" : "add_rms_norm_") + tier; },
      [&](const LinearOp& op) { return weights_[static_cast<size_t>(op.weight)].matrix().variant(); },
      [&](const AddOp&) { return "add_" + tier; },
      [&](const RopeOp&) { return "rope_" + tier; },
      [&](const KvWriteOp& op) { return with_kv("kv_write", op.group); },
      [&](const QkvStoreOp& op) { return with_kv("qkv_store", op.group); },
      [&](const AttentionOp& op) { return with_kv("attention", op.group); },
      [&](const GatedMulOp& op) { return (op.function == Gate::silu ? "silu_mul_" : "gelu_mul_") + tier; },
      [&](const GatherRowsOp&) { return std::string("gather_rows"); },
  };
  std::vector<std::string> names;
  for (const Op& op : plan_.ops) names.push_back(std::visit(name, op));
  return names;
}

ExecutorMemory Executor::memory() const {
  ExecutorMemory memory;
  for (const LoadedWeight& weight : weights_) memory.weights.push_back(weight.bytes());
  for (const KvGroup& group : kv_groups_) memory.kv += group.pages.bytes();
  for (const PageMemory& slot : slots_) memory.activations += slot.bytes();
  memory.activations += prepared_.bytes() + attention_scratch_.bytes();
  return memory;
}

}  // namespace kvant
