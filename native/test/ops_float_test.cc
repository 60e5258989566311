// The float ops against double precision on odd widths.
#include "ops_fixture.h"

namespace kvant::test {
namespace {

constexpr double kNormError = 1e-6;  // relative: half of 13 roundings of the sum, and four more
constexpr double kSiluError = 1e-6;  // relative: exp is good to 2e-7, and three roundings
constexpr double kGeluError = 4e-6;  // relative down to 1e-6: the exponent, up to 30 there, is rounded four times
constexpr double kRopeError = 2e-7;  // against the length of the pair: two roundings

constexpr int kWidths[] = {1, 2, 7, 16, 17, 48, 127, 129, 384, 1000, 4097};

void check_add_and_silu(Tier tier, int width) {
  Random random(static_cast<uint64_t>(width));
  const int64_t tokens = 5;
  const size_t count = static_cast<size_t>(tokens * width);
  std::vector<float> gate = random.normals(count, 8), up = random.normals(count), out(count, 0), fused;
  gate[0] = -200;
  if (count > 2) gate[1] = 200, gate[2] = -87.5f;
  op_kernels(tier).add(gate.data(), up.data(), out.data(), width, 1, tokens);
  for (size_t i = 0; i < count; i++) CHECK(out[i] == (i < static_cast<size_t>(width) ? 0 : gate[i] + up[i]));
  op_kernels(tier).gated_mul(Gate::silu, gate.data(), up.data(), out.data(), width, 0, tokens);
  for (size_t i = 0; i < count; i++) {
    const double x = gate[i];
    CHECK(relative_error(out[i], x / (1 + std::exp(-x)) * up[i], 1e-34) <= kSiluError);
  }
  for (int64_t t = 0; t < tokens; t++) {
    fused.insert(fused.end(), gate.begin() + t * width, gate.begin() + (t + 1) * width);
    fused.insert(fused.end(), up.begin() + t * width, up.begin() + (t + 1) * width);
  }
  std::vector<float> from_fused(count);
  op_kernels(tier).gated_mul(Gate::silu, fused.data(), nullptr, from_fused.data(), width, 0, 2);
  op_kernels(tier).gated_mul(Gate::silu, fused.data(), nullptr, from_fused.data(), width, 2, tokens);
  CHECK(same_bits(out, from_fused));
}

void check_gelu(Tier tier, int width) {
  Random random(static_cast<uint64_t>(width) + 1);
  const size_t count = static_cast<size_t>(3 * width);
  const std::vector<float> gate = random.normals(count, 2), up = random.normals(count);
  std::vector<float> out(count);
  op_kernels(tier).gated_mul(Gate::gelu_tanh, gate.data(), up.data(), out.data(), width, 0, 3);
  for (size_t i = 0; i < count; i++) {
    const double x = gate[i], t = std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x);
    CHECK(relative_error(out[i], x / 2 * (1 + std::tanh(t)) * up[i], 1e-6) <= kGeluError);
  }
}

void check_silu_specials(Tier tier) {
  const float gate[] = {NAN, INFINITY, 0, -0.0f};
  const float up[] = {1, 1, 3, 3};
  float out[4];
  op_kernels(tier).gated_mul(Gate::silu, gate, up, out, 4, 0, 1);
  CHECK(std::isnan(out[0]) && out[1] == INFINITY && out[2] == 0 && out[3] == 0);
}

void check_rms_norm(Tier tier, int norm_width, int runs, bool with_residual) {
  Random random(17);
  const int64_t tokens = 3, width = static_cast<int64_t>(norm_width) * runs;
  const size_t count = static_cast<size_t>(tokens * width);
  const std::vector<float> before = random.normals(count, 3), residual = random.normals(count);
  const std::vector<float> weight = random.normals(static_cast<size_t>(norm_width));
  std::vector<float> x = before, out(count);
  op_kernels(tier).rms_norm(x.data(), with_residual ? residual.data() : nullptr, weight.data(), width, norm_width, 1e-5f,
                            out.data(), 0, tokens);
  for (size_t i = 0; i < count; i++) CHECK(x[i] == (with_residual ? before[i] + residual[i] : before[i]));
  for (size_t start = 0; start < count; start += static_cast<size_t>(norm_width)) {
    double squares = 0;
    for (size_t i = start; i < start + static_cast<size_t>(norm_width); i++) squares += static_cast<double>(x[i]) * x[i];
    const double root = std::sqrt(squares / norm_width + static_cast<double>(1e-5f));
    for (size_t i = start; i < start + static_cast<size_t>(norm_width); i++) {
      CHECK(relative_error(out[i], x[i] / root * weight[i - start], 1e-30) <= kNormError);
    }
  }
}

void check_rope(Tier tier, int head_dim) {
  Random random(23);
  const int half = head_dim / 2, context = 40;
  const int64_t width = 3 * head_dim;
  std::vector<float> cos, sin;
  for (int i = 0; i < context * half; i++) {
    cos.push_back(static_cast<float>(std::cos(i * 0.11)));
    sin.push_back(static_cast<float>(std::sin(i * 0.11)));
  }
  Tokens tokens;
  tokens.add(0, 0, 3);
  tokens.add(1, context - 2, 2);
  const std::vector<float> x = random.normals(static_cast<size_t>(5 * width));
  std::vector<float> out(x.size()), in_place = x;
  const RopeTables tables = {cos.data(), sin.data()};
  op_kernels(tier).rope(x.data(), tables, tokens.view(), width, head_dim, out.data(), 0, 5);
  for (int t = 0; t < 5; t++) {
    for (int i = 0; i < static_cast<int>(width); i++) {
      const int d = i % head_dim, pair = d % half;
      const size_t at = static_cast<size_t>(t * width + i);
      const size_t angle = static_cast<size_t>(tokens.positions[static_cast<size_t>(t)] * half + pair);
      const double other = d < half ? -x[at + static_cast<size_t>(half)] : x[at - static_cast<size_t>(half)];
      CHECK(std::abs(out[at] - (x[at] * static_cast<double>(cos[angle]) + other * sin[angle])) <=
            kRopeError * std::hypot(x[at], other));
    }
  }
  op_kernels(tier).rope(in_place.data(), tables, tokens.view(), width, head_dim, in_place.data(), 0, 5);
  CHECK(same_bits(out, in_place));
}

void check_embed(Tier tier, int width) {
  Random random(29);
  const int vocab = 9;
  const std::vector<float> table = random.normals(static_cast<size_t>(vocab * width));
  std::vector<uint16_t> half_table(table.size());
  for (size_t i = 0; i < table.size(); i++) half_table[i] = static_cast<uint16_t>(random.next() & 0xbbff);  // finite in both
  Tokens tokens;
  tokens.add(0, 0, 4);
  tokens.ids = {8, 0, 3, 3};
  std::vector<float> out(static_cast<size_t>(4 * width));
  for (const Format format : {Format::fp32, Format::bf16, Format::fp16}) {
    const void* source = format == Format::fp32 ? static_cast<const void*>(table.data()) : half_table.data();
    op_kernels(tier).embed(tokens.view(), source, format, width, out.data(), 0, 4);
    for (int t = 0; t < 4; t++) {
      for (int i = 0; i < width; i++) {
        const size_t at = static_cast<size_t>(tokens.ids[static_cast<size_t>(t)] * width + i);
        CHECK(out[static_cast<size_t>(t * width + i)] == (format == Format::fp32 ? table[at] : decode(format, half_table[at])));
      }
    }
  }
}

}  // namespace
}  // namespace kvant::test

int main() {
  using namespace kvant;
  using namespace kvant::test;
  for (const Tier tier : present_tiers()) {
    check_silu_specials(tier);
    for (const int width : kWidths) {
      check_add_and_silu(tier, width);
      check_gelu(tier, width);
      check_embed(tier, width);
      check_rms_norm(tier, width, 1, false);
      check_rms_norm(tier, width, 3, true);
    }
    for (const int head_dim : {2, 8, 10, 16, 24, 64, 80, 96, 128, 256}) check_rope(tier, head_dim);
    std::printf("float ops on %s: %zu widths\n", tier_name(tier), std::size(kWidths));
  }
}
