#include "addon/calibration.h"

#include <algorithm>
#include <string>
#include <vector>

#include "addon/instance.h"
#include "addon/js_error.h"
#include "addon/value_reader.h"
#include "plan/check_value.h"

namespace kvant {
namespace {

// Any 128 bits that no other class has.
constexpr napi_type_tag kTag = {0x6b76616e74f14c0bULL, 0x9d2c5b8e7a3146f0ULL};

constexpr int64_t kMostCount = int64_t{1} << 30;
// Rows of a Gram matrix are blocks in y of some kernels; one of this width takes 34 GB.
constexpr int64_t kMostWidth = 65535;

template <class Array, class Value>
Array array_of(Napi::Env env, const std::vector<Value>& values) {
  Array array = Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

int64_t read_count(const ValueReader& from, const char* name) {
  const int64_t count = from.integer(name);
  check_range(from.path_of(name), count, 0, kMostCount);
  return count;
}

const float* floats(Napi::Value value, int64_t length, const std::string& path) {
  const ArrayView view = view_array(value, napi_float32_array, "Float32Array", path);
  check_equal("the length of " + path, static_cast<int64_t>(view.length), length);
  return static_cast<const float*>(view.data);
}

GridMatrix read_matrix(Napi::Value value, int64_t width) {
  const ValueReader from(value, "matrix");
  GridMatrix matrix;
  matrix.rows = read_count(from, "rows");
  matrix.grid = {from.string("format"), from.string("scaleFormat"), from.index("affine") != 0, from.index("groupSize")};
  matrix.values = floats(value.As<Napi::Object>().Get("values"), matrix.rows * width, "matrix.values");
  return matrix;
}

// Its arrays must have the lengths that the matrix asks for.
CodedMatrix read_target(Napi::Value value, const GridMatrix& matrix, int64_t width) {
  const CodedSizes sizes = coded_sizes(matrix.grid, matrix.rows, width);
  const ValueReader from(value, "to");
  const Napi::Object object = value.As<Napi::Object>();
  const auto array = [&](const char* name, napi_typedarray_type type, const char* type_name, int64_t length) {
    const ArrayView view = view_array(object.Get(name), type, type_name, from.path_of(name));
    check_equal("the length of " + from.path_of(name), static_cast<int64_t>(view.length), length);
    return const_cast<void*>(view.data);
  };
  CodedMatrix to;
  to.codes = static_cast<uint8_t*>(array("codes", napi_uint8_array, "Uint8Array", sizes.codes));
  to.scales = static_cast<float*>(array("scales", napi_float32_array, "Float32Array", sizes.scales));
  to.zeros = static_cast<int8_t*>(array("zeros", napi_int8_array, "Int8Array", sizes.scales));
  to.restored = static_cast<float*>(array("restored", napi_float32_array, "Float32Array", matrix.rows * width));
  return to;
}

Napi::Object errors_of(Napi::Env env, const RowErrors& errors) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("nearest", array_of<Napi::Float64Array>(env, errors.nearest));
  result.Set("own", array_of<Napi::Float64Array>(env, errors.own));
  result.Set("tensorScale", errors.tensor_scale);
  return result;
}

}  // namespace

Napi::Function Calibration::define(Napi::Env env) {
  return DefineClass(env, "NativeCalibration",
                     {
                         InstanceMethod<&Calibration::add>("add"),
                         InstanceMethod<&Calibration::figures>("figures"),
                         InstanceMethod<&Calibration::read_gram>("readGram"),
                         InstanceMethod<&Calibration::divide>("divide"),
                         InstanceMethod<&Calibration::quantize_gptq>("quantizeGptq"),
                         InstanceMethod<&Calibration::awq_losses>("awqLosses"),
                         InstanceMethod<&Calibration::awq_clip>("awqClip"),
                         InstanceMethod<&Calibration::output_errors>("outputErrors"),
                         InstanceMethod<&Calibration::close>("close"),
                     });
}

Calibration::Calibration(const Napi::CallbackInfo& call) : Napi::ObjectWrap<Calibration>(call) {
  with_js_errors(call.Env(), [&] {
    call.This().As<Napi::Object>().TypeTag(&kTag);
    if (call[0].IsExternal()) {
      calibration_ = std::move(*call[0].As<Napi::External<std::unique_ptr<CudaCalibration>>>().Data());
      return;
    }
    const ValueReader from(call[0], "options");
    CalibrationOptions options;
    options.device = from.string("device");
    options.width = read_count(from, "width");
    check_range("options.width", options.width, 1, kMostWidth);
    options.gram = from.index("gram") != 0;
    options.sample_stride = std::max<int64_t>(1, read_count(from, "sampleStride"));
    options.sample_capacity = read_count(from, "sampleCapacity");
    calibration_ = make_cuda_calibration(options);
  });
}

CudaCalibration& Calibration::of(Napi::Value value) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag)) throw invalid("the statistics are none of this addon's");
  return Unwrap(value.As<Napi::Object>())->open();
}

CudaCalibration& Calibration::open() const {
  if (calibration_ == nullptr) throw invalid("the calibration is closed");
  return *calibration_;
}

void Calibration::add(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const int64_t tokens = to_integer(call[1], "tokens");
    check_range("tokens", tokens, 0, kMostCount);
    open().add(floats(call[0], tokens * open().width(), "values"), tokens);
  });
}

Napi::Value Calibration::figures(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const Napi::Env env = call.Env();
    const ActivationFigures figures = open().figures();
    Napi::Object result = Napi::Object::New(env);
    result.Set("sums", array_of<Napi::Float64Array>(env, figures.sums));
    result.Set("largest", array_of<Napi::Float32Array>(env, figures.largest));
    result.Set("squares", array_of<Napi::Float64Array>(env, figures.squares));
    result.Set("bins", array_of<Napi::Float64Array>(env, figures.bins));
    result.Set("zeros", figures.zeros);
    result.Set("sample", array_of<Napi::Float32Array>(env, figures.sample));
    return result;
  });
}

void Calibration::read_gram(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const ArrayView to = view_array(call[0], napi_float64_array, "Float64Array", "gram");
    check_equal("the length of gram", static_cast<int64_t>(to.length), open().width() * open().width());
    open().read_gram(static_cast<double*>(const_cast<void*>(to.data)));
  });
}

Napi::Value Calibration::divide(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    std::unique_ptr<CudaCalibration> divided = open().divide(floats(call[0], open().width(), "scales"));
    return call.Env().GetInstanceData<Instance>()->calibration.New({Napi::External<std::unique_ptr<CudaCalibration>>::New(call.Env(), &divided)});
  });
}

Napi::Value Calibration::quantize_gptq(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const GridMatrix matrix = read_matrix(call[0], open().width());
    const ValueReader options(call[1], "options");
    const GptqRequest request{options.number("damping"), options.index("actOrder") != 0, options.index("staticScales") != 0};
    const GptqFigures figures = open().quantize_gptq(matrix, request, read_target(call[2], matrix, open().width()));
    Napi::Object result = errors_of(call.Env(), figures);
    result.Set("damping", figures.damping);
    result.Set("deadColumns", static_cast<double>(figures.dead_columns));
    result.Set("keptRows", static_cast<double>(figures.kept_rows));
    return result;
  });
}

Napi::Value Calibration::awq_losses(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const int64_t width = open().width();
    const GridMatrix matrix = read_matrix(call[0], width);
    const ArrayView candidates = view_array(call[1], napi_float32_array, "Float32Array", "candidates");
    check_equal("the length of candidates modulo the width", static_cast<int64_t>(candidates.length) % width, 0);
    const int64_t count = static_cast<int64_t>(candidates.length) / width;
    return array_of<Napi::Float64Array>(call.Env(), open().awq_losses(matrix, static_cast<const float*>(candidates.data), count));
  });
}

Napi::Value Calibration::awq_clip(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const GridMatrix matrix = read_matrix(call[0], open().width());
    const ArrayView shrinks = view_array(call[1], napi_float32_array, "Float32Array", "shrinks");
    const auto* const first = static_cast<const float*>(shrinks.data);
    const ClipRequest request{{first, first + shrinks.length}};
    const ClipFigures figures = open().awq_clip(matrix, request, read_target(call[2], matrix, open().width()));
    Napi::Object result = errors_of(call.Env(), figures);
    result.Set("shrinks", array_of<Napi::Float32Array>(call.Env(), figures.shrinks));
    return result;
  });
}

Napi::Value Calibration::output_errors(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const int64_t rows = to_integer(call[2], "rows"), width = open().width();
    check_range("rows", rows, 0, kMostCount);
    const float* const values = floats(call[0], rows * width, "values");
    const float* const rounded = call[1].IsUndefined() ? nullptr : floats(call[1], rows * width, "rounded");
    return array_of<Napi::Float64Array>(call.Env(), open().output_errors(values, rounded, rows));
  });
}

void Calibration::close(const Napi::CallbackInfo&) { calibration_.reset(); }

}  // namespace kvant
