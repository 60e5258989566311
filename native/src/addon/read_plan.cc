#include "addon/read_plan.h"

#include "addon/value_reader.h"
#include "plan/error.h"
#include "plan/format_names.h"

namespace kvant {
namespace {

BufferSpec read_buffer(const ValueReader& from) {
  const std::string rows = from.string("rows");
  if (rows != "tokens" && rows != "logits") throw invalid(from.path_of("rows") + " must be tokens or logits");
  return {from.integer("width"), rows == "tokens" ? Rows::tokens : Rows::logits, from.index("slot"), from.integer("kept") != 0};
}

WeightSpec::Kind read_kind(const ValueReader& from) {
  const std::string kind = from.string("kind");
  if (kind == "matrix") return WeightSpec::Kind::matrix;
  if (kind == "table") return WeightSpec::Kind::table;
  if (kind == "vector") return WeightSpec::Kind::vector;
  throw invalid(from.path_of("kind") + " must be matrix, table or vector");
}

Scales read_scales(const ValueReader& from) {
  const std::string scales = from.string("scales");
  if (scales == "fp32") return Scales::fp32;
  if (scales == "affine") return Scales::affine;
  if (scales == "e8m0") return Scales::e8m0;
  if (scales == "e4m3") return Scales::e4m3;
  throw invalid(from.path_of("scales") + " must be fp32, affine, e8m0 or e4m3");
}

WeightSpec read_weight(const ValueReader& from) {
  WeightSpec weight;
  weight.kind = read_kind(from);
  weight.rows = from.integer("rows");
  weight.cols = from.integer("cols");
  weight.format = parse_format(from.string("format"), from.path_of("format"));
  weight.group_size = from.index("groupSize");
  weight.activation = parse_format(from.string("activation"), from.path_of("activation"));
  weight.activation_scale = static_cast<float>(from.number("activationScale"));
  weight.scales = read_scales(from);
  return weight;
}

RopeSpec read_rope(const ValueReader& from) {
  RopeSpec rope;
  from.read("inverseFrequencies", rope.inverse_frequencies);
  rope.magnitude = from.number("magnitude");
  return rope;
}

KvGroupSpec read_group(const ValueReader& from) {
  KvGroupSpec group;
  group.layer_count = from.index("layerCount");
  group.kv_heads = from.index("kvHeads");
  group.head_dim = from.index("headDim");
  group.window = from.index("window");
  group.format = parse_format(from.string("format"), from.path_of("format"));
  group.page_tokens = from.index("pageTokens");
  group.page_count = from.integer("pageCount");
  group.host_page_count = from.integer("hostPageCount");
  group.page_bytes = from.integer("pageBytes");
  group.layer_bytes = from.integer("layerBytes");
  group.k_codes = from.integer("kCodes");
  group.v_codes = from.integer("vCodes");
  group.k_scales = from.integer("kScales");
  group.v_scales = from.integer("vScales");
  from.read("kStatic", group.k_static);
  from.read("vStatic", group.v_static);
  return group;
}

Op read_op(const ValueReader& from) {
  const std::string name = from.string("op");
  const auto index = [&](const char* field) { return from.index(field); };
  const auto real = [&](const char* field) { return static_cast<float>(from.number(field)); };
  if (name == "embed") return EmbedOp{index("table"), index("out")};
  if (name == "rmsNorm") return RmsNormOp{index("x"), index("residual"), index("weight"), real("epsilon"), index("out")};
  if (name == "linear") return LinearOp{index("x"), index("weight"), index("bias"), index("out")};
  if (name == "add") return AddOp{index("x"), index("y"), index("out")};
  if (name == "rope") return RopeOp{index("x"), index("rope"), index("headDim"), index("out")};
  if (name == "kvWrite") return KvWriteOp{index("k"), index("v"), index("group"), index("layer")};
  if (name == "qkvStore") {
    return QkvStoreOp{index("qkv"),     index("heads"), index("qNorm"), index("kNorm"), real("epsilon"),
                      index("rope"),    index("group"), index("layer"), index("out")};
  }
  if (name == "attention") {
    return AttentionOp{index("q"), index("heads"), real("scale"), index("group"), index("layer"), index("out")};
  }
  if (name == "siluMul") return GatedMulOp{Gate::silu, index("gate"), index("up"), index("out")};
  if (name == "geluMul") return GatedMulOp{Gate::gelu_tanh, index("gate"), index("up"), index("out")};
  if (name == "gatherRows") return GatherRowsOp{index("x"), index("out")};
  throw Error("OP_UNSUPPORTED", from.path_of("op") + " is \"" + name + "\", which the native backends do not have");
}

template <typename T>
std::vector<T> read_all(const ValueReader& from, const char* list, T (*read)(const ValueReader&)) {
  std::vector<T> all;
  for (const ValueReader& entry : from.list(list)) all.push_back(read(entry));
  return all;
}

}  // namespace

Plan read_plan(Napi::Value value) {
  const ValueReader from(value, "plan");
  Plan plan;
  plan.vocab_size = from.integer("vocabSize");
  plan.context_length = from.integer("contextLength");
  plan.buffers = read_all(from, "buffers", read_buffer);
  plan.weights = read_all(from, "weights", read_weight);
  plan.ropes = read_all(from, "ropes", read_rope);
  plan.kv_groups = read_all(from, "kvGroups", read_group);
  plan.ops = read_all(from, "ops", read_op);
  plan.logits = from.index("logits");
  return plan;
}

ExecutorOptions read_options(Napi::Value value) {
  const ValueReader from(value, "options");
  ExecutorOptions options;
  options.limits = {from.integer("maxRows"), from.integer("maxTokens"), from.integer("maxLogitRows")};
  options.device = from.string("device");
  options.threads = from.index("threads");
  options.tier = from.string("tier");
  options.deterministic = from.index("deterministic") != 0;
  return options;
}

}  // namespace kvant
