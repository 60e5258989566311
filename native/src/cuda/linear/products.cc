// The table of variants: weight format x operand.
#include <stdexcept>

#include "layout.h"

namespace kvant::cuda::linear {

// Each is defined in the file of its name.
extern const Product product_fp32_fp32, product_bf16_fp32, product_fp16_fp32, product_int8_fp32, product_int4_fp32,
    product_e4m3_fp32, product_e5m2_fp32, product_e2m1_fp32;
extern const Product product_bf16_bf16, product_int8_bf16, product_int4_bf16, product_e4m3_bf16, product_e5m2_bf16,
    product_e2m1_bf16;
extern const Product product_fp16_fp16, product_int8_fp16, product_int4_fp16, product_e4m3_fp16, product_e5m2_fp16,
    product_e2m1_fp16;
extern const Product product_int8_int8, product_int4_int8;

const Product& find_product(Format weights, Operand operand) {
  // By Format (fp32, bf16, fp16, int8, int4, e4m3, e5m2, e2m1), then Operand (fp32, bf16, fp16, int8).
  static const Product* const table[8][4] = {
      {&product_fp32_fp32, nullptr, nullptr, nullptr},
      {&product_bf16_fp32, &product_bf16_bf16, nullptr, nullptr},
      {&product_fp16_fp32, nullptr, &product_fp16_fp16, nullptr},
      {&product_int8_fp32, &product_int8_bf16, &product_int8_fp16, &product_int8_int8},
      {&product_int4_fp32, &product_int4_bf16, &product_int4_fp16, &product_int4_int8},
      {&product_e4m3_fp32, &product_e4m3_bf16, &product_e4m3_fp16, nullptr},
      {&product_e5m2_fp32, &product_e5m2_bf16, &product_e5m2_fp16, nullptr},
      {&product_e2m1_fp32, &product_e2m1_bf16, &product_e2m1_fp16, nullptr},
  };
  const Product* product = table[static_cast<int>(weights)][static_cast<int>(operand)];
  if (product == nullptr) throw std::invalid_argument("no kernel for the pair of formats");
  return *product;
}

}  // namespace kvant::cuda::linear
