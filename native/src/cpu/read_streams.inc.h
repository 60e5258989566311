// The body of read_streams for one tier; included by read_streams_<tier>.cc inside that tier's namespace, after the headers.

using Wide = uint64_t __attribute__((vector_size(64)));  // compiled to the widest loads of the tier

uint64_t read_streams(const void* data, size_t bytes) {
  constexpr size_t kStreams = 4;
  constexpr size_t kAhead = 16;  // lines of 64 bytes between a prefetch and its load
  const size_t lines = bytes / sizeof(Wide) / kStreams;
  const Wide* const base = static_cast<const Wide*>(data);
  Wide sums[kStreams] = {};
  for (size_t line = 0; line < lines; line++) {
    for (size_t stream = 0; stream < kStreams; stream++) {
      const Wide* const at = base + stream * lines + line;
      __builtin_prefetch(at + kAhead);
      sums[stream] ^= *at;
    }
  }
  const Wide sum = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  uint64_t result = 0;
  for (int lane = 0; lane < 8; lane++) result ^= sum[lane];
  return result;
}
