#include "addon/quantize_math.h"

#include <algorithm>
#include <string>

#include "addon/js_error.h"
#include "addon/value_reader.h"
#include "cpu/page_memory.h"
#include "cpu/quantize/quantize_absmax.h"
#include "cpu/quantize/restored_matrix.h"
#include "cpu/quantize/scale_matrix.h"
#include "kvant/tier.h"
#include "plan/check_value.h"

namespace kvant {
namespace {

// No array is longer than these allow, and with them positions do not overflow.
constexpr int64_t kMostCount = int64_t{1} << 30;
constexpr int64_t kMostStride = int64_t{1} << 31;

int64_t read_count(const ValueReader& from, const char* name) {
  const int64_t count = from.integer(name);
  check_range(from.path_of(name), count, 0, kMostCount);
  return count;
}

// A `MatrixView` of packages/quantizers. Reading a property may run code of the caller, which could take an array's memory away;
// so `data` is looked into when all properties have been read.
struct View {
  View(const Napi::Object& product, const char* name) : path(std::string("product.") + name) {
    const ValueReader from(product.Get(name), path);
    data = product.Get(name).As<Napi::Object>().Get("data");
    offset = from.integer("offset");
    row_stride = from.integer("rowStride");
    col_stride = from.integer("colStride");
    check_range(path + ".rowStride", row_stride, -kMostStride, kMostStride);
    check_range(path + ".colStride", col_stride, -kMostStride, kMostStride);
  }

  bool is_float32() const {
    return data.IsTypedArray() && data.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array;
  }

  // Element [0, 0], with all of [rows, cols] inside the array; null where there are none.
  void* start(napi_typedarray_type type, const char* type_name, int64_t rows, int64_t cols) const {
    const ArrayView array = view_array(data, type, type_name, path + ".data");
    if (rows == 0 || cols == 0) return nullptr;
    const int64_t last = static_cast<int64_t>(array.length) - 1;
    check_range(path + ".offset", offset, 0, last);
    const int64_t down = (rows - 1) * row_stride, right = (cols - 1) * col_stride;
    const std::string reach = "the reach of " + path + " [" + std::to_string(rows) + ", " + std::to_string(cols) + "]";
    check_range(reach, offset + std::min<int64_t>(down, 0) + std::min<int64_t>(right, 0), 0, last);
    check_range(reach, offset + std::max<int64_t>(down, 0) + std::max<int64_t>(right, 0), 0, last);
    const int64_t bytes = offset * static_cast<int64_t>(type == napi_float32_array ? sizeof(float) : sizeof(double));
    return static_cast<uint8_t*>(const_cast<void*>(array.data)) + bytes;
  }

  const void* operand(int64_t rows, int64_t cols) const {
    return is_float32() ? start(napi_float32_array, "Float32Array", rows, cols)
                        : start(napi_float64_array, "Float32Array or a Float64Array", rows, cols);
  }

  std::string path;
  Napi::Value data;
  int64_t offset, row_stride, col_stride;
};

// A typed array of so many elements.
template <class Element>
Element* array_at(const Napi::Object& object, const ValueReader& from, const char* name, napi_typedarray_type type, const char* type_name, int64_t length) {
  const ArrayView view = view_array(object.Get(name), type, type_name, from.path_of(name));
  check_equal("the length of " + from.path_of(name), static_cast<int64_t>(view.length), length);
  return static_cast<Element*>(const_cast<void*>(view.data));
}

// An empty array of zero points stands for none.
MatrixScales scales_at(const Napi::Object& object, const ValueReader& from, int64_t rows, int64_t cols) {
  const int64_t group_size = from.index("groupSize");
  if (group_size == 0) throw invalid("matrix.groupSize is 0, must be -2, -1 or a number of columns");
  check_range("matrix.groupSize", group_size, -2, kMostCount);
  const int64_t count = group_size == -2 ? 1 : group_size == -1 ? rows : rows * ((cols + group_size - 1) / group_size);
  const float* const scales = array_at<float>(object, from, "scales", napi_float32_array, "Float32Array", count);
  const ArrayView zeros = view_array(object.Get("zeros"), napi_int8_array, "Int8Array", from.path_of("zeros"));
  if (zeros.length == 0) return {scales, nullptr, group_size};
  return {scales, array_at<int8_t>(object, from, "zeros", napi_int8_array, "Int8Array", count), group_size};
}

Napi::Float64Array numbers_of(Napi::Env env, const std::vector<double>& numbers) {
  Napi::Float64Array array = Napi::Float64Array::New(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

}  // namespace

Napi::Function QuantizeMath::define(Napi::Env env) {
  return DefineClass(env, "NativeQuantizeMath",
                     {
                         InstanceMethod<&QuantizeMath::add_product>("addProduct"),
                         InstanceMethod<&QuantizeMath::quantize_absmax>("quantizeAbsMax"),
                         InstanceMethod<&QuantizeMath::dequantize>("dequantize"),
                         InstanceMethod<&QuantizeMath::sum_errors>("sumErrors"),
                         InstanceMethod<&QuantizeMath::count_values>("countValues"),
                         InstanceMethod<&QuantizeMath::scale_matrix>("scaleMatrix"),
                         InstanceMethod<&QuantizeMath::all_finite>("allFinite"),
                     });
}

QuantizeMath::QuantizeMath(const Napi::CallbackInfo& call) : Napi::ObjectWrap<QuantizeMath>(call) {
  with_js_errors(call.Env(), [&] {
    const ValueReader options(call[0], "options");
    const Tier tier = choose_tier(options.string("tier"));
    kernels_ = &quantize_kernels(tier);
    pool_ = std::make_unique<ThreadPool>(options.index("threads"));
  });
}

void QuantizeMath::add_product(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const ValueReader from(call[0], "product");
    const Napi::Object object = call[0].As<Napi::Object>();
    const int64_t rows = read_count(from, "rows"), cols = read_count(from, "cols"), depth = read_count(from, "depth");
    const View target(object, "target"), left(object, "left"), right(object, "right");
    const double sign = from.number("sign");
    if (sign != 1 && sign != -1) throw invalid("product.sign is " + std::to_string(sign) + ", must be 1 or -1");
    const bool lower_only = object.Get("lowerOnly").ToBoolean();
    void* const to = target.start(napi_float64_array, "Float64Array", rows, cols);
    const Product product{
        .target = {static_cast<double*>(to), target.row_stride, target.col_stride},
        .left = {left.operand(rows, depth), !left.is_float32(), left.row_stride, left.col_stride},
        .right = {right.operand(depth, cols), !right.is_float32(), right.col_stride, right.row_stride},
        .rows = rows,
        .cols = cols,
        .depth = depth,
        .sign = sign,
        .lower_only = lower_only,
    };
    kvant::add_product(product, *kernels_, *pool_, scratch_);
  });
}

void QuantizeMath::quantize_absmax(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const ValueReader from(call[0], "matrix");
    const Napi::Object object = call[0].As<Napi::Object>();
    const std::string format = from.string("format");
    const int64_t rows = read_count(from, "rows"), cols = read_count(from, "cols");
    const int64_t group_size = from.index("groupSize");
    const Napi::Value given[] = {object.Get("values"), object.Get("codes"), object.Get("scales")};
    const ArrayView values = view_array(given[0], napi_float32_array, "Float32Array", from.path_of("values"));
    const ArrayView codes = view_array(given[1], napi_uint8_array, "Uint8Array", from.path_of("codes"));
    const ArrayView scales = view_array(given[2], napi_float32_array, "Float32Array", from.path_of("scales"));
    const AbsMaxQuantization matrix{
        .values = static_cast<const float*>(values.data),
        .rows = rows,
        .cols = cols,
        .format = code_format(format),
        .group_size = group_size,
        .codes = static_cast<uint8_t*>(const_cast<void*>(codes.data)),
        .scales = static_cast<float*>(const_cast<void*>(scales.data)),
    };
    if (matrix.format == nullptr) throw Error("OP_UNSUPPORTED", "there is no AbsMax pass for " + format);
    if (matrix.group_size == 0) throw invalid("matrix.groupSize is 0, must be -2, -1 or a number of columns");
    check_range("matrix.groupSize", matrix.group_size, -2, kMostCount);
    check_equal("the length of matrix.values", static_cast<int64_t>(values.length), matrix.rows * matrix.cols);
    check_equal("the length of matrix.codes", static_cast<int64_t>(codes.length), matrix.rows * matrix.row_bytes());
    check_equal("the length of matrix.scales", static_cast<int64_t>(scales.length), matrix.scale_count());
    prefer_huge_pages(matrix.codes, codes.length);
    kvant::quantize_absmax(matrix, *kernels_, *pool_);
  });
}

void QuantizeMath::dequantize(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const ValueReader from(call[0], "matrix");
    const Napi::Object object = call[0].As<Napi::Object>();
    const int64_t rows = read_count(from, "rows"), cols = read_count(from, "cols"), bits = from.index("storedBits");
    if (bits != 8 && bits != 4) throw invalid("matrix.storedBits is " + std::to_string(bits) + ", must be 8 or 4");
    const Dequantization matrix{
        .codes = array_at<uint8_t>(object, from, "codes", napi_uint8_array, "Uint8Array", rows * ((cols * bits + 7) / 8)),
        .rows = rows,
        .cols = cols,
        .stored_bits = static_cast<int>(bits),
        .scales = scales_at(object, from, rows, cols),
        .table = array_at<float>(object, from, "table", napi_float32_array, "Float32Array", 256),
        .values = array_at<float>(object, from, "values", napi_float32_array, "Float32Array", rows * cols),
    };
    prefer_huge_pages(matrix.values, static_cast<size_t>(rows * cols) * sizeof(float));
    kvant::dequantize(matrix, *pool_);
  });
}

Napi::Value QuantizeMath::sum_errors(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const ValueReader from(call[0], "matrix");
    const Napi::Object object = call[0].As<Napi::Object>();
    const int64_t rows = read_count(from, "rows"), cols = read_count(from, "cols");
    const RestoredMatrix matrix{
        .original = array_at<float>(object, from, "original", napi_float32_array, "Float32Array", rows * cols),
        .restored = array_at<float>(object, from, "restored", napi_float32_array, "Float32Array", rows * cols),
        .rows = rows,
        .cols = cols,
        .scales = scales_at(object, from, rows, cols),
        .max = from.number("max"),
        .half_step = from.number("halfStep"),
    };
    const ErrorSums sums = kvant::sum_errors(matrix, *pool_);
    Napi::Object result = Napi::Object::New(call.Env());
    result.Set("signal", sums.signal);
    result.Set("noise", sums.noise);
    result.Set("largestError", sums.largest_error);
    result.Set("saturatedCount", static_cast<double>(sums.saturated));
    result.Set("zeroedCount", static_cast<double>(sums.zeroed));
    result.Set("nonFiniteCount", static_cast<double>(sums.non_finite));
    return result;
  });
}

Napi::Value QuantizeMath::count_values(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const ArrayView before = view_array(call[0], napi_float32_array, "Float32Array", "before");
    const ArrayView after = view_array(call[1], napi_float32_array, "Float32Array", "after");
    check_equal("the length of after", static_cast<int64_t>(after.length), static_cast<int64_t>(before.length));
    const int64_t bins = to_integer(call[2], "bins");
    check_range("bins", bins, 1, 1 << 16);
    const ValueCounts counts = kvant::count_values(static_cast<const float*>(before.data), static_cast<const float*>(after.data),
                                                   static_cast<int64_t>(before.length), static_cast<int>(bins), *pool_);
    Napi::Object result = Napi::Object::New(call.Env());
    result.Set("reach", counts.reach);
    result.Set("before", numbers_of(call.Env(), counts.before));
    result.Set("after", numbers_of(call.Env(), counts.after));
    return result;
  });
}

void QuantizeMath::scale_matrix(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const ValueReader from(call[0], "matrix");
    const Napi::Object object = call[0].As<Napi::Object>();
    const int64_t rows = read_count(from, "rows"), cols = read_count(from, "cols");
    const bool by_row = object.Get("byRow").ToBoolean(), divides = object.Get("divides").ToBoolean();
    const MatrixScaling scaling{
        .values = array_at<float>(object, from, "values", napi_float32_array, "Float32Array", rows * cols),
        .rows = rows,
        .cols = cols,
        .factors = array_at<float>(object, from, "factors", napi_float32_array, "Float32Array", by_row ? rows : cols),
        .by_row = by_row,
        .divides = divides,
        .out = array_at<float>(object, from, "out", napi_float32_array, "Float32Array", rows * cols),
    };
    prefer_huge_pages(scaling.out, static_cast<size_t>(rows * cols) * sizeof(float));
    kvant::scale_matrix(scaling, *pool_);
  });
}

Napi::Value QuantizeMath::all_finite(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const ArrayView values = view_array(call[0], napi_float32_array, "Float32Array", "values");
    const bool finite = kvant::all_finite(static_cast<const float*>(values.data), static_cast<int64_t>(values.length), *pool_);
    return Napi::Boolean::New(call.Env(), finite);
  });
}

}  // namespace kvant
