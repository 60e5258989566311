#pragma once
#include <cstdint>

#include "kvant/cuda/stream.h"

namespace kvant::cuda::quantize {

// Figures of activations so far; device memory.
struct FigureSums {
  double* sums;              // [width] of magnitudes
  float* largest;            // [width] magnitudes; NaN is ignored
  unsigned long long* bins;  // [kMagnitudeBins + 1], the last for zeros; NaN counts nowhere
};

// Adds x [tokens, width] to the figures and widens it to float64 where `wide` [tokens, width] is not null.
void add_figures(const float* x, int64_t tokens, int64_t width, const FigureSums& to, double* wide, Stream stream);

// Copies what lies below the diagonal of a matrix [n, n] to above it.
void mirror_lower(double* matrix, int64_t n, Stream stream);

// to[i, j] = from[i, j] / (scales[i] * scales[j])
void divide_gram(const double* from, const float* scales, int64_t n, double* to, Stream stream);

}  // namespace kvant::cuda::quantize
