#include <algorithm>
#include <cmath>

#include "plan/check_value.h"
#include "plan/overloaded.h"
#include "plan/plan.h"

namespace kvant {
namespace {

// Far above any model and small enough that a product of two sizes fits 63 bits.
constexpr int64_t kMaxWidth = int64_t{1} << 26;
constexpr int64_t kMaxVocabulary = int64_t{1} << 26;
constexpr int64_t kMaxContext = int64_t{1} << 24;
constexpr int64_t kMaxRowSlots = int64_t{1} << 16;
constexpr int64_t kMaxStepTokens = int64_t{1} << 20;
constexpr int64_t kMaxHeads = int64_t{1} << 16;
constexpr int64_t kMaxHeadDim = int64_t{1} << 14;
constexpr int64_t kMaxLayers = int64_t{1} << 16;
constexpr int64_t kMaxPages = int64_t{1} << 30;
constexpr int64_t kMaxBytes = int64_t{1} << 46;
constexpr int64_t kMaxPageBytes = 0xffffffff;  // kernels multiply page numbers by 32 bits

bool is_float(Format format) { return format == Format::fp32 || format == Format::bf16 || format == Format::fp16; }

void check_finite(const std::string& what, double value) {
  if (!std::isfinite(value)) throw invalid(what + " is not a finite number");
}

void check_weight(const WeightSpec& weight, const std::string& name) {
  check_range(name + ".rows", weight.rows, 1, kMaxWidth);
  check_range(name + ".cols", weight.cols, 1, kMaxWidth);
  check_range(name + ".rows * cols", weight.rows * weight.cols, 1, kMaxBytes / 4);
  if (weight.kind == WeightSpec::Kind::table && !is_float(weight.format)) {
    throw invalid(name + ".format: a table is kept in fp32, bf16 or fp16");
  }
  if (weight.kind == WeightSpec::Kind::vector) check_equal(name + ".rows", weight.rows, 1);
  check_range(name + ".groupSize", weight.group_size, -2, kMaxWidth);
  if (!std::isfinite(weight.activation_scale) || weight.activation_scale < 0) {
    throw invalid(name + ".activationScale is not a finite number of at least 0");
  }
}

// Codes and scales of K and V lie inside a layer, aligned, and share no byte.
void check_page_layout(const KvGroupSpec& group, const std::string& name) {
  check_range(name + ".layerBytes", group.layer_bytes, 1, kMaxBytes);
  const int64_t most_pages = std::max(group.page_count, group.host_page_count);
  check_range(name + ".pageBytes", group.page_bytes, group.layer_bytes * group.layer_count, std::min(kMaxPageBytes, kMaxBytes / most_pages));
  check_equal(name + ".pageBytes modulo 16", group.page_bytes % 16, 0);
  check_equal(name + ".layerBytes modulo 16", group.layer_bytes % 16, 0);
  struct Part {
    const char* name;
    int64_t begin, bytes;
  };
  Part parts[] = {{"kCodes", group.k_codes, group.code_bytes()},
                  {"vCodes", group.v_codes, group.code_bytes()},
                  {"kScales", group.k_scales, group.scale_bytes()},
                  {"vScales", group.v_scales, group.scale_bytes()}};
  for (const Part& part : parts) {
    if (part.bytes == 0) continue;
    check_range(name + "." + part.name, part.begin, 0, group.layer_bytes - part.bytes);
    check_equal(name + "." + part.name + " modulo 16", part.begin % 16, 0);
    for (const Part& other : parts) {
      const bool apart = &part == &other || other.bytes == 0 || part.begin + part.bytes <= other.begin ||
                         other.begin + other.bytes <= part.begin;
      if (!apart) throw invalid(name + ": " + part.name + " and " + other.name + " overlap");
    }
  }
}

void check_static_scales(const KvGroupSpec& group, const std::vector<float>& scales, const std::string& name) {
  check_equal(name + ".length", static_cast<int64_t>(scales.size()), int64_t{group.layer_count} * group.kv_heads);
  for (float scale : scales) {
    if (!(scale > 0) || !std::isfinite(scale)) throw invalid(name + " holds a scale that is not a positive number");
  }
}

void check_group(const KvGroupSpec& group, const std::string& name) {
  check_range(name + ".layerCount", group.layer_count, 1, kMaxLayers);
  check_range(name + ".kvHeads", group.kv_heads, 1, kMaxHeads);
  check_range(name + ".headDim", group.head_dim, 2, kMaxHeadDim);
  check_equal(name + ".headDim modulo 2", group.head_dim % 2, 0);
  check_range(name + ".window", group.window, 0, kMaxContext);
  if (group.page_tokens != 16 && group.page_tokens != 32 && group.page_tokens != 64) {
    throw invalid(name + ".pageTokens is " + std::to_string(group.page_tokens) + ", must be 16, 32 or 64");
  }
  check_range(name + ".pageCount", group.page_count, 2, kMaxPages);
  check_range(name + ".hostPageCount", group.host_page_count, 0, kMaxPages);
  if (bits(group.format) == 4) throw invalid(name + ".format: pages hold fp32, bf16, fp16, e4m3, e5m2 or int8");
  if (!group.k_static.empty() || !group.v_static.empty()) {
    if (bits(group.format) != 8) throw invalid(name + ": only 8-bit formats have static scales");
    check_static_scales(group, group.k_static, name + ".kStatic");
    check_static_scales(group, group.v_static, name + ".vStatic");
  }
  check_page_layout(group, name);
}

// The checks of one op; every message begins with the op's place and name.
class OpCheck {
 public:
  OpCheck(const Plan& plan, size_t index)
      : plan_(plan), name_("ops[" + std::to_string(index) + "] (" + op_name(plan.ops[index]) + ")") {}

  void operator()(const EmbedOp& op) const {
    const WeightSpec& table = weight("table", op.table, WeightSpec::Kind::table);
    check_range(at("table.rows"), table.rows, plan_.vocab_size, kMaxVocabulary);
    check_buffer("out", op.out, table.cols, Rows::tokens);
  }
  void operator()(const RmsNormOp& op) const {
    const WeightSpec& norm = weight("weight", op.weight, WeightSpec::Kind::vector);
    const BufferSpec& x = buffer("x", op.x);
    check_equal(at("x.width modulo weight.cols"), x.width % norm.cols, 0);
    if (op.residual != kAbsent) check_buffer("residual", op.residual, x.width, x.rows);
    check_buffer("out", op.out, x.width, x.rows);
    check_epsilon(op.epsilon);
  }
  void operator()(const LinearOp& op) const {
    const WeightSpec& matrix = weight("weight", op.weight, WeightSpec::Kind::matrix);
    const BufferSpec& x = buffer("x", op.x);
    check_equal(at("x.width"), x.width, matrix.cols);
    if (op.bias != kAbsent) check_equal(at("bias.cols"), weight("bias", op.bias, WeightSpec::Kind::vector).cols, matrix.rows);
    check_buffer("out", op.out, matrix.rows, x.rows);
  }
  void operator()(const AddOp& op) const {
    const BufferSpec& x = buffer("x", op.x);
    check_buffer("y", op.y, x.width, x.rows);
    check_buffer("out", op.out, x.width, x.rows);
  }
  void operator()(const RopeOp& op) const {
    const BufferSpec& x = buffer("x", op.x);
    check_rope(op.rope, op.head_dim);
    check_equal(at("x.width modulo headDim"), x.width % op.head_dim, 0);
    check_buffer("x", op.x, x.width, Rows::tokens);
    check_buffer("out", op.out, x.width, Rows::tokens);
  }
  void operator()(const KvWriteOp& op) const {
    const KvGroupSpec& kv = group(op.group, op.layer);
    check_buffer("k", op.k, int64_t{kv.kv_heads} * kv.head_dim, Rows::tokens);
    check_buffer("v", op.v, int64_t{kv.kv_heads} * kv.head_dim, Rows::tokens);
  }
  void operator()(const QkvStoreOp& op) const {
    const KvGroupSpec& kv = group(op.group, op.layer);
    check_heads(op.heads, kv);
    check_buffer("qkv", op.qkv, (op.heads + int64_t{2} * kv.kv_heads) * kv.head_dim, Rows::tokens);
    check_buffer("out", op.out, int64_t{op.heads} * kv.head_dim, Rows::tokens);
    for (int norm : {op.q_norm, op.k_norm}) {
      if (norm == kAbsent) continue;
      check_equal(at("qNorm or kNorm .cols"), weight("qNorm or kNorm", norm, WeightSpec::Kind::vector).cols, kv.head_dim);
      check_epsilon(op.epsilon);
    }
    if (op.rope != kAbsent) check_rope(op.rope, kv.head_dim);
  }
  void operator()(const AttentionOp& op) const {
    const KvGroupSpec& kv = group(op.group, op.layer);
    check_heads(op.heads, kv);
    check_finite(at("scale"), op.scale);
    check_buffer("q", op.q, int64_t{op.heads} * kv.head_dim, Rows::tokens);
    check_buffer("out", op.out, int64_t{op.heads} * kv.head_dim, Rows::tokens);
  }
  void operator()(const GatedMulOp& op) const {
    const BufferSpec& out = buffer("out", op.out);
    check_buffer("gate", op.gate, op.up == kAbsent ? 2 * out.width : out.width, out.rows);
    if (op.up != kAbsent) check_buffer("up", op.up, out.width, out.rows);
  }
  void operator()(const GatherRowsOp& op) const {
    const BufferSpec& x = buffer("x", op.x);
    check_buffer("x", op.x, x.width, Rows::tokens);
    check_buffer("out", op.out, x.width, Rows::logits);
  }

 private:
  std::string at(const std::string& what) const { return name_ + ": " + what; }

  const BufferSpec& buffer(const char* role, int index) const {
    check_range(at(role), index, 0, static_cast<int64_t>(plan_.buffers.size()) - 1);
    return plan_.buffers[static_cast<size_t>(index)];
  }
  void check_buffer(const char* role, int index, int64_t width, Rows rows) const {
    const BufferSpec& spec = buffer(role, index);
    check_equal(at(std::string(role) + ".width"), spec.width, width);
    if (spec.rows != rows) throw invalid(at(role) + " must have one row per " + (rows == Rows::tokens ? "token" : "logit row"));
  }
  const WeightSpec& weight(const char* role, int index, WeightSpec::Kind kind) const {
    check_range(at(role), index, 0, static_cast<int64_t>(plan_.weights.size()) - 1);
    const WeightSpec& spec = plan_.weights[static_cast<size_t>(index)];
    static constexpr const char* kKinds[] = {"matrix", "table", "vector"};
    if (spec.kind != kind) throw invalid(at(role) + " must be a " + kKinds[static_cast<int>(kind)]);
    return spec;
  }
  const KvGroupSpec& group(int index, int layer) const {
    check_range(at("group"), index, 0, static_cast<int64_t>(plan_.kv_groups.size()) - 1);
    const KvGroupSpec& spec = plan_.kv_groups[static_cast<size_t>(index)];
    check_range(at("layer"), layer, 0, spec.layer_count - 1);
    return spec;
  }
  void check_heads(int heads, const KvGroupSpec& kv) const {
    check_range(at("heads"), heads, 1, kMaxHeads);
    check_equal(at("heads modulo kvHeads"), heads % kv.kv_heads, 0);
  }
  void check_rope(int index, int head_dim) const {
    check_range(at("headDim"), head_dim, 2, kMaxHeadDim);
    check_equal(at("headDim modulo 2"), head_dim % 2, 0);
    check_range(at("rope"), index, 0, static_cast<int64_t>(plan_.ropes.size()) - 1);
    const auto& frequencies = plan_.ropes[static_cast<size_t>(index)].inverse_frequencies;
    check_equal(at("inverseFrequencies.length"), static_cast<int64_t>(frequencies.size()), head_dim / 2);
  }
  void check_epsilon(float epsilon) const {
    if (!(epsilon >= 0) || !std::isfinite(epsilon)) throw invalid(at("epsilon") + " is not a finite number of at least 0");
  }

  const Plan& plan_;
  std::string name_;
};

std::string entry(const char* list, size_t index) { return std::string(list) + "[" + std::to_string(index) + "]"; }

}  // namespace

const char* op_name(const Op& op) {
  static constexpr const char* kNames[] = {"embed",    "rmsNorm",   "linear",  "add",        "rope", "kvWrite",
                                           "qkvStore", "attention", "siluMul", "gatherRows"};
  static_assert(std::size(kNames) == std::variant_size_v<Op>);
  const auto* const gated = std::get_if<GatedMulOp>(&op);
  if (gated != nullptr && gated->function == Gate::gelu_tanh) return "geluMul";
  return kNames[op.index()];
}

void validate_plan(const Plan& plan, const PlanLimits& limits) {
  check_range("vocabSize", plan.vocab_size, 1, kMaxVocabulary);
  check_range("contextLength", plan.context_length, 1, kMaxContext);
  check_range("maxRows", limits.max_rows, 1, kMaxRowSlots);
  check_range("maxTokens", limits.max_tokens, 1, kMaxStepTokens);
  check_range("maxLogitRows", limits.max_logit_rows, 1, kMaxStepTokens);
  for (size_t i = 0; i < plan.buffers.size(); i++) {
    check_range(entry("buffers", i) + ".width", plan.buffers[i].width, 1, kMaxWidth);
    check_range(entry("buffers", i) + ".slot", plan.buffers[i].slot, 0, static_cast<int64_t>(plan.buffers.size()) - 1);
  }
  for (size_t i = 0; i < plan.weights.size(); i++) check_weight(plan.weights[i], entry("weights", i));
  for (size_t i = 0; i < plan.ropes.size(); i++) {
    check_finite(entry("ropes", i) + ".magnitude", plan.ropes[i].magnitude);
    for (float frequency : plan.ropes[i].inverse_frequencies) check_finite(entry("ropes", i) + ".inverseFrequencies", frequency);
  }
  for (size_t i = 0; i < plan.kv_groups.size(); i++) check_group(plan.kv_groups[i], entry("kvGroups", i));
  for (size_t i = 0; i < plan.ops.size(); i++) std::visit(OpCheck(plan, i), plan.ops[i]);
  if (plan.logits == kAbsent) return;
  check_range("logits", plan.logits, 0, static_cast<int64_t>(plan.buffers.size()) - 1);
  const BufferSpec& logits = plan.buffers[static_cast<size_t>(plan.logits)];
  check_equal("logits.width", logits.width, plan.vocab_size);
  if (logits.rows != Rows::logits) throw invalid("logits must have one row per logit row");
}

}  // namespace kvant
