#pragma once
#include <cstddef>
#include <cstdint>

// Reads `bytes` (a multiple of 256) at a 64-byte aligned address in four streams and returns the xor of all 64-bit words,
// so that no load can be left out. One copy per tier, for its load width.
namespace kvant::scalar_streams {
uint64_t read_streams(const void* data, size_t bytes);
}
namespace kvant::avx2_streams {
uint64_t read_streams(const void* data, size_t bytes);
}
namespace kvant::avx512vnni_streams {
uint64_t read_streams(const void* data, size_t bytes);
}
namespace kvant::neon_streams {
uint64_t read_streams(const void* data, size_t bytes);
}
