#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.h"
#include "kvant/ops.h"

// What the tests of the ops share: seeded numbers, number formats by their definitions, and pages to write into.
namespace kvant::test {

// SplitMix64; normal() by summing twelve uniforms, which is near enough and the same everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  int below(int count) { return static_cast<int>(next() % static_cast<uint64_t>(count)); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  float normal() {
    double total = -6;
    for (int i = 0; i < 12; i++) total += uniform();
    return static_cast<float>(total);
  }
  std::vector<float> normals(size_t count, float scale = 1) {
    std::vector<float> values(count);
    for (float& value : values) value = normal() * scale;
    return values;
  }
  std::vector<int32_t> permutation(int count) {
    std::vector<int32_t> order(static_cast<size_t>(count));
    for (int i = 0; i < count; i++) order[static_cast<size_t>(i)] = i;
    for (int i = count - 1; i > 0; i--) std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(below(i + 1))]);
    return order;
  }

 private:
  uint64_t state_;
};

constexpr Format kKvFormats[] = {Format::fp32, Format::bf16, Format::fp16, Format::int8, Format::e4m3, Format::e5m2};

inline const char* name_of(Format format) {
  switch (format) {
    case Format::fp32: return "fp32";
    case Format::bf16: return "bf16";
    case Format::fp16: return "fp16";
    case Format::int8: return "int8";
    case Format::e4m3: return "e4m3";
    case Format::e5m2: return "e5m2";
    default: return "?";
  }
}

// The value of a code by the format's definition: sign, exponent and mantissa fields; two's complement for int8.
inline double decode(Format format, uint32_t code) {
  if (format == Format::int8) return static_cast<int8_t>(code);
  if (format == Format::fp32) {
    float value;
    std::memcpy(&value, &code, sizeof value);
    return value;
  }
  const int exponent_bits = format == Format::bf16 ? 8 : format == Format::e4m3 ? 4 : 5;
  const int mantissa_bits = bits(format) - 1 - exponent_bits;
  const uint32_t sign = code >> (bits(format) - 1) & 1, mantissa = code & ((1u << mantissa_bits) - 1);
  const int exponent = static_cast<int>(code >> mantissa_bits & ((1u << exponent_bits) - 1));
  const int top = (1 << exponent_bits) - 1, bias = (1 << (exponent_bits - 1)) - 1;
  double value = 0;
  if (format == Format::e4m3 && exponent == top && mantissa == 7) {
    value = std::numeric_limits<double>::quiet_NaN();
  } else if (format != Format::e4m3 && exponent == top) {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    value = std::ldexp(1.0 + std::ldexp(mantissa, -mantissa_bits), exponent - bias);
  }
  return sign != 0 ? -value : value;
}

// Pages of one layer group with a table per row slot. Everything starts as 0xff: NaN in every float format and scale.
class Cache {
 public:
  struct Options {
    Format format = Format::fp32;
    int kv_heads = 1, head_dim = 64, page_tokens = 16, layers = 1, window = 0, slots = 1, context = 64;
    uint64_t page_seed = 1;
    float static_scale = 0;  // 0: token-head scales where the format has scales
  };

  explicit Cache(const Options& options) : options_(options) {
    const auto align = [](int64_t bytes) { return (bytes + 15) / 16 * 16; };
    const int64_t positions = static_cast<int64_t>(options.kv_heads) * options.page_tokens;
    const bool token_head = bits(options.format) == 8 && options.static_scale == 0;
    const int64_t codes = align(positions * options.head_dim * bits(options.format) / 8);
    const int64_t scales = token_head ? align(positions * 4) : 0;
    const int per_slot = (options.context + options.page_tokens - 1) / options.page_tokens;
    const int page_count = per_slot * options.slots;
    pages.layer_bytes = 2 * (codes + scales);
    pages.page_bytes = (options.layers * pages.layer_bytes + 63) / 64 * 64;
    pages.v_codes = codes;
    pages.k_scales = 2 * codes;
    pages.v_scales = 2 * codes + scales;
    memory_.assign(static_cast<size_t>(page_count * pages.page_bytes + 63), 0xff);
    pages.base = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory_.data()) + 63) & ~uintptr_t{63});
    Random random(options.page_seed);
    table = random.permutation(page_count);
    pages.tables = table.data();
    pages.table_stride = per_slot;
    pages.page_tokens = options.page_tokens;
    pages.kv_heads = options.kv_heads;
    pages.head_dim = options.head_dim;
    pages.layer_count = options.layers;
    pages.window = options.window;
    pages.format = options.format;
    if (options.static_scale != 0) {
      for (int i = 0; i < options.layers * options.kv_heads; i++) {
        statics_.push_back(options.static_scale * static_cast<float>(1 + i % 3));
      }
      pages.k_static = pages.v_static = statics_.data();
    }
  }
  Cache(const Cache&) = delete;

  uint8_t* codes(bool is_key, int slot, int layer, int head, int position) const {
    const int64_t index = (static_cast<int64_t>(head) * pages.page_tokens + position % pages.page_tokens) * pages.head_dim;
    return part(slot, layer, position) + (is_key ? pages.k_codes : pages.v_codes) + index * bits(pages.format) / 8;
  }
  // The scale of one stored head; 1 for formats without.
  float scale(bool is_key, int slot, int layer, int head, int position) const {
    if (bits(pages.format) != 8) return 1;
    if (pages.k_static != nullptr) return statics_[static_cast<size_t>(layer * pages.kv_heads + head)];
    float value;
    const int64_t index = static_cast<int64_t>(head) * pages.page_tokens + position % pages.page_tokens;
    std::memcpy(&value, part(slot, layer, position) + (is_key ? pages.k_scales : pages.v_scales) + 4 * index, 4);
    return value;
  }
  uint32_t code(bool is_key, int slot, int layer, int head, int position, int d) const {
    const int bytes = bits(pages.format) / 8;
    uint32_t value = 0;
    std::memcpy(&value, codes(is_key, slot, layer, head, position) + d * bytes, static_cast<size_t>(bytes));
    return value;
  }
  double value(bool is_key, int slot, int layer, int head, int position, int d) const {
    return decode(pages.format, code(is_key, slot, layer, head, position, d)) *
           static_cast<double>(scale(is_key, slot, layer, head, position));
  }

  KvPages pages;
  std::vector<int32_t> table;

 private:
  uint8_t* part(int slot, int layer, int position) const {
    const int32_t page = table[static_cast<size_t>(slot * pages.table_stride + position / pages.page_tokens)];
    return pages.base + page * pages.page_bytes + layer * pages.layer_bytes;
  }

  Options options_;
  std::vector<uint8_t> memory_;
  std::vector<float> statics_;
};

// The tokens of one step with their storage.
struct Tokens {
  std::vector<int32_t> ids, positions, slots;

  void add(int slot, int first_position, int count) {
    for (int i = 0; i < count; i++) {
      ids.push_back(0);
      positions.push_back(first_position + i);
      slots.push_back(slot);
    }
  }
  StepTokens view() const {
    return {static_cast<int64_t>(positions.size()), ids.data(), positions.data(), slots.data()};
  }
};

inline double relative_error(double actual, double expected, double floor) {
  return std::abs(actual - expected) / std::max(std::abs(expected), floor);
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace kvant::test
