// What tests of matrices share: a product in two parts, the weights that a matrix holds, and refusals.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "counted_checks.h"
#include "kvant/linear.h"

namespace kvant_test {

using kvant::MatrixSpec;

// y [tokens, N + 3]; blocks from `split` on come first.
inline std::vector<float> run(const kvant::Matrix& matrix, const std::vector<float>& x, int64_t tokens, const float* bias,
                              int64_t split) {
  const MatrixSpec& spec = matrix.spec();
  const size_t bytes = matrix.prepared_bytes(tokens);
  uint8_t* prepared = static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  std::memset(prepared, 0xff, bytes);
  const int64_t half = tokens / 2;
  matrix.prepare(x.data(), spec.cols, tokens, half, tokens, prepared);
  matrix.prepare(x.data(), spec.cols, tokens, 0, half, prepared);
  std::vector<float> y(static_cast<size_t>(tokens * (spec.rows + 3)), -77.0f);
  matrix.run(prepared, tokens, bias, y.data(), spec.rows + 3, split, matrix.block_count());
  matrix.run(prepared, tokens, bias, y.data(), spec.rows + 3, 0, split);
  std::free(prepared);
  return y;
}

inline std::string name_of(const kvant::Matrix& matrix, int64_t tokens) {
  const MatrixSpec& spec = matrix.spec();
  return matrix.variant() + " N=" + std::to_string(spec.rows) + " K=" + std::to_string(spec.cols) + " T=" +
         std::to_string(tokens);
}

// Unit vectors as activations make the products show every held weight: y = code * scale, exactly.
inline std::vector<float> held_weights(const kvant::Matrix& matrix) {
  const int64_t rows = matrix.spec().rows, cols = matrix.spec().cols;
  std::vector<float> units(static_cast<size_t>(cols * cols), 0.0f), weights(static_cast<size_t>(rows * cols));
  for (int64_t k = 0; k < cols; k++) units[k * cols + k] = 1.0f;
  const std::vector<float> y = run(matrix, units, cols, nullptr, 0);
  for (int64_t n = 0; n < rows; n++) {
    for (int64_t k = 0; k < cols; k++) weights[n * cols + k] = y[k * (rows + 3) + n];
  }
  return weights;
}

template <class Body>
void check_refused(const char* expected, const Body& body) {
  try {
    body();
  } catch (const std::invalid_argument& error) {
    check(std::strstr(error.what(), expected) != nullptr,
          [&] { return std::string("\"") + error.what() + "\" does not say \"" + expected + "\""; });
    return;
  }
  check(false, [&] { return std::string("accepted, not refused with \"") + expected + "\""; });
}

}  // namespace kvant_test
