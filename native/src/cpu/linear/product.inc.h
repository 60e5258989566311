// y[t, n] = sum_g scale[n, g] * sum_{k in g} x[t, k] * (w[n, k] - zero[n, g]) (* x_scale[t]) + bias[n]
//
// The loops that every vector tier shares; included by kernels_<tier>.cc, inside an anonymous namespace, because code of
// one tier must never be merged with that of another. Shapes and layouts: packed_layout.h, token_tiles.h.
//
// Features lie across the lanes, so a lane adds up its products over k one after the other: no horizontal sums, and the
// same order for one token and for many. A tile of T tokens x V vectors of features is kept in registers; each weight is
// decoded once per tile. T = 1 reads N * K codes once and is memory bound; T = 8 does 2 * 8 operations per code read from
// the second-level cache.
//
// The tier defines
//   struct Simd     Float, Int, kLanes, vectors(T) = V, and the operations used below
//   Weights         static column<J>(codes) -> Float: column J of a unit of 8, first of its lanes at `codes`; kFactor
//   Codes           static unit(codes) -> Unit: 8 columns; dot(sum, Unit, x of columns 0..3, of 4..7); kOffset of the codes;
//                   optionally, where a unit is two lines, dot_line(sum, codes, line, x of its columns): one of them, for T = 1
//   Decoders        names the Weights and Codes of each format; product_table makes the tier's products of them

// The scales of a group for one vector of features; `at` is where the group's scales begin, `tensor` those of its block.
template <class Simd, Scales S>
KVANT_ALWAYS_INLINE typename Simd::Float load_scale(const uint8_t* at, int64_t lane, const uint8_t* tensor) {
  if constexpr (S == Scales::e8m0) return Simd::from_e8m0(at + lane);
  else if constexpr (S == Scales::e4m3) return Simd::mul(Simd::from_e4m3(at + lane), Simd::load_at(tensor, lane));
  else return Simd::load_at(at, lane);
}

// Codes of zero for one vector of features.
template <class Simd>
KVANT_ALWAYS_INLINE typename Simd::Int load_zeros(const uint8_t* scales, int64_t lane) {
  return Simd::widen_bytes(scales + kLinearBlock * sizeof(float) + lane);
}

// Blocks first, first + stride, ...: read side by side.
struct Chunk {
  int64_t first, stride, blocks;
};

template <class Simd>
struct Tile {
  static constexpr int kVectorsPerBlock = static_cast<int>(kLinearBlock) / Simd::kLanes;

  const PackedLayout& layout;
  const LinearCall& call;
  int64_t first;  // token
  const Chunk& chunk;
  int64_t first_vector;  // of kLanes features, counted from the chunk's first

  int64_t block(int v) const { return chunk.first + (first_vector + v) / kVectorsPerBlock * chunk.stride; }

  // First lane of vector v in its block.
  int64_t lane(int v) const { return (first_vector + v) % kVectorsPerBlock * Simd::kLanes; }

  // Codes of vector v; `word` is bytes per feature.
  const uint8_t* codes(int v, int64_t word) const {
    return call.weights + block(v) * layout.block_bytes + lane(v) * word;
  }

  // Scales of the tensor for the block of vector v; e4m3 scales only.
  const uint8_t* tensor_scales(int v) const {
    return call.weights + (block(v) + 1) * layout.block_bytes - kLinearBlock * sizeof(float);
  }

  void store(int t, int v, typename Simd::Float total, float x_scale) const {
    const int64_t feature = block(v) * kLinearBlock + lane(v);
    float* y = call.y + (first + t) * call.ldy + feature;
    const int64_t count = layout.rows - feature;
    if (count >= Simd::kLanes) {
      const typename Simd::Float bias = call.bias ? Simd::load(call.bias + feature) : Simd::zero();
      Simd::store(y, Simd::fma(total, Simd::splat(x_scale), bias));
      return;
    }
    float bias[Simd::kLanes] = {}, lanes[Simd::kLanes];
    for (int64_t i = 0; call.bias && i < count; i++) bias[i] = call.bias[feature + i];
    Simd::store(lanes, Simd::fma(total, Simd::splat(x_scale), Simd::load(bias)));
    for (int64_t i = 0; i < count; i++) y[i] = lanes[i];
  }
};

// How far ahead of its use a matrix-vector product asks for weights. The hardware's own prefetchers stop at page ends.
constexpr int64_t kPrefetchBytes = 2048;

template <class Simd, Format F, int T>
KVANT_ALWAYS_INLINE void prefetch_unit(const uint8_t* codes) {
  if constexpr (T <= 2) {
    constexpr int64_t kUnitBytes = kColumnUnit * kLinearBlock * bits(F) / 8;
    for (int64_t line = 0; line < kUnitBytes; line += 64) Simd::prefetch(codes + kPrefetchBytes + line);
  }
}

template <class Simd, Format F, class Weights, Scales S>
struct FloatProduct {
  using Float = typename Simd::Float;
  static constexpr int kBits = bits(F);
  static constexpr int64_t kUnitBytes = kColumnUnit * kLinearBlock * bits(F) / 8;

  template <int T, int V, int J>
  static KVANT_ALWAYS_INLINE void add_column(const uint8_t* const (&codes)[V], const Float (&zeros)[V], const float* x,
                                             Float (&sum)[T][V]) {
    Float w[V];
    for (int v = 0; v < V; v++) {
      w[v] = Weights::template column<J>(codes[v]);
      // Taken off each code, where it is exact, and not off the sum, where it would cancel.
      if constexpr (S == Scales::affine) w[v] = Simd::sub(w[v], zeros[v]);
    }
    for (int t = 0; t < T; t++) {
      const Float value = Simd::splat(x[J * T + t]);
      for (int v = 0; v < V; v++) sum[t][v] = Simd::fma(value, w[v], sum[t][v]);
    }
  }

  template <int T, int V>
  static void run_tile(const Tile<Simd>& tile) {
    const PackedLayout& layout = tile.layout;
    const float* x = static_cast<const float*>(tile.call.x) + tile.first * layout.padded_cols;
    const uint8_t* codes[V];
    for (int v = 0; v < V; v++) codes[v] = tile.codes(v, word_bytes(F));
    Float total[T][V];
    for (int t = 0; t < T; t++) {
      for (int v = 0; v < V; v++) total[t][v] = Simd::zero();
    }
    for (int64_t group = 0; group < layout.group_count; group++) {
      Float sum[T][V];
      for (int t = 0; t < T; t++) {
        for (int v = 0; v < V; v++) sum[t][v] = Simd::zero();
      }
      const int64_t units = layout.padded_group(group) / kColumnUnit;
      Float zeros[V];
      for (int v = 0; S == Scales::affine && v < V; v++) {
        const uint8_t* scales = codes[v] - tile.lane(v) * word_bytes(F) + units * kUnitBytes;
        zeros[v] = Simd::to_float(load_zeros<Simd>(scales, tile.lane(v)));
      }
      for (int64_t unit = 0; unit < units; unit++, x += kColumnUnit * T) {
        [&]<int... J>(std::integer_sequence<int, J...>) {
          (add_column<T, V, J>(codes, zeros, x, sum), ...);
        }(std::make_integer_sequence<int, static_cast<int>(kColumnUnit)>());
        for (int v = 0; v < V; v++) {
          if (V == 1 || v % Tile<Simd>::kVectorsPerBlock == 0) prefetch_unit<Simd, F, T>(codes[v]);
          codes[v] += kUnitBytes;
        }
      }
      for (int v = 0; v < V; v++) {
        const uint8_t* scales = codes[v] - tile.lane(v) * word_bytes(F);
        const Float scale =
            Simd::scaled(load_scale<Simd, S>(scales, tile.lane(v), tile.tensor_scales(v)), Weights::kFactor);
        for (int t = 0; t < T; t++) total[t][v] = Simd::fma(sum[t][v], scale, total[t][v]);
        codes[v] += scale_bytes(S);
      }
    }
    for (int t = 0; t < T; t++) {
      for (int v = 0; v < V; v++) tile.store(t, v, total[t][v], 1.0f);
    }
  }
};

// Sums over a group are exact int32. Where codes are held with an offset, so that they fill the unsigned side of the
// instruction, the sum starts at -offset * (sum of the group's activation codes), and codes of zero go the same way.
template <class Simd, Format F, class Codes, Scales S>
struct Int8Product {
  using Float = typename Simd::Float;
  using Int = typename Simd::Int;
  static constexpr int kBits = bits(F);
  static constexpr int64_t kUnitBytes = kColumnUnit * kLinearBlock * bits(F) / 8;

  template <int T, int V>
  static KVANT_ALWAYS_INLINE void add_unit(const uint8_t* const (&codes)[V], const int8_t* x, Int (&sum)[T][V]) {
    if constexpr (T == 1 && requires { &Codes::dot_line; }) {
      // A line of each stream in turn: memory answers a two-core Xeon 3 % faster than with two lines at a time.
      for (int line = 0; line < 2; line++) {
        const Int four = Simd::splat_word(x + line * 4);
        for (int v = 0; v < V; v++) sum[0][v] = Codes::dot_line(sum[0][v], codes[v], line, four);
      }
      return;
    }
    typename Codes::Unit w[V];
    for (int v = 0; v < V; v++) w[v] = Codes::unit(codes[v]);
    for (int t = 0; t < T; t++) {
      const Int low = Simd::splat_word(x + t * 4), high = Simd::splat_word(x + (T + t) * 4);
      for (int v = 0; v < V; v++) sum[t][v] = Codes::dot(sum[t][v], w[v], low, high);
    }
  }

  template <int T, int V>
  static void run_tile(const Tile<Simd>& tile) {
    const PackedLayout& layout = tile.layout;
    const int8_t* x = static_cast<const int8_t*>(tile.call.x) + tile.first * layout.padded_cols;
    const int32_t* x_sums = tile.call.x_sums + tile.first * layout.group_count;
    const uint8_t* codes[V];
    for (int v = 0; v < V; v++) codes[v] = tile.codes(v, word_bytes(F));
    Float total[T][V];
    for (int t = 0; t < T; t++) {
      for (int v = 0; v < V; v++) total[t][v] = Simd::zero();
    }
    for (int64_t group = 0; group < layout.group_count; group++, x_sums += T) {
      Int sum[T][V];
      for (int t = 0; t < T; t++) {
        for (int v = 0; v < V; v++) sum[t][v] = Simd::splat_int(-Codes::kOffset * x_sums[t]);
      }
      const int64_t units = layout.padded_group(group) / kColumnUnit;
      for (int64_t unit = 0; unit < units; unit++, x += kColumnUnit * T) {
        add_unit<T, V>(codes, x, sum);
        for (int v = 0; v < V; v++) {
          if (V == 1 || v % Tile<Simd>::kVectorsPerBlock == 0) prefetch_unit<Simd, F, T>(codes[v]);
          codes[v] += kUnitBytes;
        }
      }
      for (int v = 0; v < V; v++) {
        const uint8_t* scales = codes[v] - tile.lane(v) * word_bytes(F);
        const Float scale = load_scale<Simd, S>(scales, tile.lane(v), tile.tensor_scales(v));
        if constexpr (S == Scales::affine) {
          const Int zeros = load_zeros<Simd>(scales, tile.lane(v));
          for (int t = 0; t < T; t++) sum[t][v] = Simd::sub_product(sum[t][v], zeros, Simd::splat_int(x_sums[t]));
        }
        for (int t = 0; t < T; t++) total[t][v] = Simd::fma(Simd::to_float(sum[t][v]), scale, total[t][v]);
        codes[v] += scale_bytes(S);
      }
    }
    for (int t = 0; t < T; t++) {
      for (int v = 0; v < V; v++) tile.store(t, v, total[t][v], tile.call.x_scales[tile.first + t]);
    }
  }
};

// All vectors of a chunk for the tile of T tokens at `first`.
template <class Simd, class Product, int T>
void sweep(const PackedLayout& layout, const LinearCall& call, int64_t first, const Chunk& chunk) {
  constexpr int V = Simd::vectors(T);
  const int64_t end = chunk.blocks * Tile<Simd>::kVectorsPerBlock;
  int64_t vector = 0;
  for (; vector + V <= end; vector += V) Product::template run_tile<T, V>({layout, call, first, chunk, vector});
  for (; vector < end; vector++) Product::template run_tile<T, 1>({layout, call, first, chunk, vector});
}

template <class Simd, class Product>
void run_chunk(const PackedLayout& layout, const LinearCall& call, int64_t begin, int64_t end, const Chunk& chunk) {
  for (int64_t first = begin, width; first < end; first += width) {
    width = tile_width(first, call.tokens);
    switch (width) {
      case 8: sweep<Simd, Product, 8>(layout, call, first, chunk); break;
      case 4: sweep<Simd, Product, 4>(layout, call, first, chunk); break;
      case 2: sweep<Simd, Product, 2>(layout, call, first, chunk); break;
      default: sweep<Simd, Product, 1>(layout, call, first, chunk);
    }
  }
}

// A few blocks stay in the second-level cache while all tokens of a batch pass over them; batches are cut so that their
// activations stay there as well.
constexpr int64_t kChunkBlocks = 4;
constexpr int64_t kBatchBytes = 512 << 10;

template <class Simd, class Product, class Value>
void run(const PackedLayout& layout, const LinearCall& call) {
  const int64_t fitting = kBatchBytes / (layout.padded_cols * static_cast<int64_t>(sizeof(Value))) / kTokenTile * kTokenTile;
  const int64_t batch = fitting > kTokenTile ? fitting : kTokenTile;
  const int64_t chunks = (call.block_end - call.block_begin) / kChunkBlocks;
  const int64_t rest = call.block_begin + chunks * kChunkBlocks;
  // Far apart, each block goes on where the one before ended, and memory gives a two-core Xeon 4 % more; from codes of 4 bits,
  // whose blocks are short, 2 % less.
  const int64_t stride = Product::kBits >= 8 ? chunks : 1, chunk_stride = Product::kBits >= 8 ? 1 : kChunkBlocks;
  for (int64_t begin = 0; begin < call.tokens; begin += batch) {
    const int64_t end = begin + batch < call.tokens ? begin + batch : call.tokens;
    for (int64_t i = 0; i < chunks; i++) {
      run_chunk<Simd, Product>(layout, call, begin, end, {call.block_begin + i * chunk_stride, stride, kChunkBlocks});
    }
    if (rest < call.block_end) run_chunk<Simd, Product>(layout, call, begin, end, {rest, 1, call.block_end - rest});
  }
}

template <class Simd, Format F, class Weights, Scales S = Scales::fp32>
constexpr RunLinear float_product = run<Simd, FloatProduct<Simd, F, Weights, S>, float>;
template <class Simd, Format F, class Codes, Scales S = Scales::fp32>
constexpr RunLinear int8_product = run<Simd, Int8Product<Simd, F, Codes, S>, int8_t>;

// The products that a tier's decoders make.
template <class Simd, class D>
constexpr Products symmetric_products = {
    .float_activations = {float_product<Simd, Format::fp32, typename D::Fp32>, float_product<Simd, Format::bf16, typename D::Bf16>,
                          float_product<Simd, Format::fp16, typename D::Fp16>, float_product<Simd, Format::int8, typename D::Int8>,
                          float_product<Simd, Format::int4, typename D::Int4>, float_product<Simd, Format::e4m3, typename D::E4m3>,
                          float_product<Simd, Format::e5m2, typename D::E5m2>, float_product<Simd, Format::e2m1, typename D::E2m1>},
    .int8_activations = {nullptr, nullptr, nullptr, int8_product<Simd, Format::int8, typename D::Int8Codes>,
                         int8_product<Simd, Format::int4, typename D::Int4Codes>, nullptr, nullptr, nullptr},
};

template <class Simd, class D>
constexpr Products affine_products = {
    .float_activations = {nullptr, nullptr, nullptr, float_product<Simd, Format::int8, typename D::Int8, Scales::affine>,
                          float_product<Simd, Format::int4, typename D::Int4, Scales::affine>, nullptr, nullptr, nullptr},
    .int8_activations = {nullptr, nullptr, nullptr, int8_product<Simd, Format::int8, typename D::Int8Codes, Scales::affine>,
                         int8_product<Simd, Format::int4, typename D::Int4Codes, Scales::affine>, nullptr, nullptr, nullptr},
};

template <class Simd, class D, Scales S>
constexpr Products fp4_products = {
    .float_activations = {nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                          float_product<Simd, Format::e2m1, typename D::E2m1, S>},
    .int8_activations = {},
};
