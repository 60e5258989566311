#include "addon/executable.h"

#include <algorithm>

#include "addon/calibration.h"
#include "addon/js_error.h"
#include "addon/read_plan.h"
#include "addon/step_values.h"
#include "addon/value_reader.h"
#include "cpu/executor.h"
#include "kvant/cuda.h"
#include "plan/format_names.h"

namespace kvant {
namespace {

std::unique_ptr<StepExecutor> make_executor(Plan plan, const ExecutorOptions& options) {
  if (options.device == "cpu") return std::make_unique<Executor>(std::move(plan), options);
  return make_cuda_executor(std::move(plan), options);
}

}  // namespace

Napi::Function Executable::define(Napi::Env env) {
  return DefineClass(env, "NativeExecutable",
                     {
                         InstanceMethod<&Executable::load_weight>("loadWeight"),
                         InstanceMethod<&Executable::load_codes>("loadCodes"),
                         InstanceMethod<&Executable::warm_up>("warmUp"),
                         InstanceMethod<&Executable::submit>("submit"),
                         InstanceMethod<&Executable::write_buffer>("writeBuffer"),
                         InstanceMethod<&Executable::read_buffer>("readBuffer"),
                         InstanceMethod<&Executable::gather>("gather"),
                         InstanceMethod<&Executable::read_page>("readPage"),
                         InstanceMethod<&Executable::variants>("variants"),
                         InstanceMethod<&Executable::memory>("memory"),
                         InstanceMethod<&Executable::close>("close"),
                     });
}

Executable::Executable(const Napi::CallbackInfo& call) : Napi::ObjectWrap<Executable>(call) {
  const Napi::Env env = call.Env();
  with_js_errors(env, [&] {
    executor_ = make_executor(read_plan(call[0]), read_options(call[1]));
    answers_ = Answers::New(env, "kvant steps", /*maxQueueSize=*/0, /*initialThreadCount=*/1, this);
    answers_.Unref(env);
    start_threads();
    napi_add_env_cleanup_hook(env, on_environment_exit, this);
  });
}

void Executable::start_threads() {
  StepExecutor* const executor = executor_.get();
  // Refused only while the environment goes down, when nobody is left to tell.
  const auto answer = [answers = answers_](std::unique_ptr<StepJob> job) {
    if (answers.NonBlockingCall(job.get()) == napi_ok) job.release();
  };
  if (!executor->runs_in_two_parts()) {
    thread_ = std::make_unique<StepThread>(
        "kvant-step",
        [executor](StepJob& job, const std::function<void()>& aside) { executor->run(job.inputs, job.outputs, aside); }, answer);
    return;
  }
  finisher_ = std::make_unique<StepThread>(
      "kvant-finish",
      [executor](StepJob& job, const std::function<void()>& aside) {
        if (aside) aside();
        if (job.error.empty()) executor->finish(job.outputs);
      },
      answer);
  thread_ = std::make_unique<StepThread>(
      "kvant-step",
      [executor](StepJob& job, const std::function<void()>& aside) {
        if (aside) aside();
        executor->start(job.inputs, job.outputs);
      },
      [finisher = finisher_.get()](std::unique_ptr<StepJob> job) { finisher->submit(std::move(job)); });
}

void Executable::finish_threads() {
  if (thread_) thread_->finish();
  if (finisher_) finisher_->finish();
  thread_.reset();
  finisher_.reset();
}

// Reached by garbage collection, which a step in flight prevents, or after on_environment_exit.
Executable::~Executable() {
  if (executor_ == nullptr) return;
  napi_remove_env_cleanup_hook(Env(), on_environment_exit, this);
  finish_threads();
  answers_.Release();
}

// Node runs these hooks newest first, so the thread is gone before the thread-safe function that it calls.
void Executable::on_environment_exit(void* data) {
  auto* const self = static_cast<Executable*>(data);
  self->thread_->abandon();
  // What has been started ends before its memory goes; its answers reach nobody.
  self->finish_threads();
  self->executor_.reset();
}

StepExecutor& Executable::open_executor(const char* method, bool between_steps) {
  if (executor_ == nullptr) throw invalid(std::string(method) + ": the executable is closed");
  if (between_steps && !waiting_.empty()) {
    throw invalid(std::string(method) + " is for between steps; " + std::to_string(waiting_.size()) + " in flight");
  }
  return *executor_;
}

void Executable::load_weight(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    StepExecutor& executor = open_executor("loadWeight", true);
    const int64_t index = to_integer(call[0], "index");
    const int64_t row_offset = to_integer(call[1], "rowOffset");
    const int64_t rows = to_integer(call[2], "rows");
    const std::string dtype_name = call[3].IsString() ? call[3].As<Napi::String>().Utf8Value() : "";
    const Format dtype = parse_format(dtype_name, "dtype");
    if (bits(dtype) < 16) throw invalid("dtype is \"" + dtype_name + "\", must be fp32, bf16 or fp16");
    const ArrayView data = view_array(call[4], napi_uint8_array, "Uint8Array", "data");
    executor.load_weight(index, row_offset, rows, dtype, static_cast<const uint8_t*>(data.data), data.length);
  });
}

void Executable::load_codes(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    StepExecutor& executor = open_executor("loadCodes", true);
    const int64_t index = to_integer(call[0], "index");
    const int64_t row_offset = to_integer(call[1], "rowOffset");
    const int64_t rows = to_integer(call[2], "rows");
    const ValueReader source(call[3], "source");
    CodedSource coded;
    source.view("codes", coded.codes);
    source.view("scales", coded.scales);
    source.view("scaleCodes", coded.scale_codes);
    source.view("zeros", coded.zeros);
    coded.tensor_scale = static_cast<float>(source.number("tensorScale"));
    executor.load_codes(index, row_offset, rows, coded);
  });
}

void Executable::warm_up(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    StepExecutor& executor = open_executor("warmUp", true);
    executor.check_complete();
    executor.warm_up();
  });
}

void Executable::submit(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  with_js_errors(env, [&] {
    StepExecutor& executor = open_executor("submit", false);
    if (!call[1].IsFunction()) throw invalid("done must be a function");
    if (!weights_complete_) executor.check_complete();
    weights_complete_ = true;
    std::unique_ptr<StepJob> job = take_job();
    read_step(call[0], job->inputs);
    validate_step(job->inputs, executor.plan(), executor.limits());

    waiting_.push_back(Napi::Persistent(call[1].As<Napi::Function>()));
    if (waiting_.size() == 1) {
      Ref();
      answers_.Ref(env);
    }
    thread_->submit(std::move(job));
    executor.step_handed_in();
  });
}

void Executable::deliver(Napi::Env env, Napi::Function, Executable* self, StepJob* raw) {
  std::unique_ptr<StepJob> job(raw);
  // Without an environment the process or worker is ending and `self` may be gone.
  if (env == nullptr) return;
  try {
    self->settle(env, std::move(job));
  } catch (const Napi::Error& error) {
    // Left pending, the exception would only be a warning in Node 20.
    napi_fatal_exception(env, error.Value());
  }
}

void Executable::settle(Napi::Env env, std::unique_ptr<StepJob> job) {
  const Napi::FunctionReference done = std::move(waiting_.front());
  waiting_.pop_front();
  Napi::Value error = env.Undefined(), result = env.Undefined();
  if (!job->error.empty()) {
    error = Napi::String::New(env, job->error);
  } else {
    try {
      result = write_result(env, job->outputs);
    } catch (const Napi::Error& failure) {
      error = Napi::String::New(env, failure.Message());
    }
  }
  if (executor_ != nullptr) spare_jobs_.push_back(std::move(job));
  if (waiting_.empty()) {
    if (executor_ != nullptr) answers_.Unref(env);
    Unref();
  }
  done.Call({error, result});
}

std::unique_ptr<StepJob> Executable::take_job() {
  if (spare_jobs_.empty()) return std::make_unique<StepJob>();
  std::unique_ptr<StepJob> job = std::move(spare_jobs_.back());
  spare_jobs_.pop_back();
  job->error.clear();
  return job;
}

void Executable::write_buffer(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    StepExecutor& executor = open_executor("writeBuffer", true);
    const int64_t index = to_integer(call[0], "index");
    const ArrayView values = view_array(call[1], napi_float32_array, "Float32Array", "values");
    executor.write_buffer(index, static_cast<const float*>(values.data), values.length);
  });
}

void Executable::read_buffer(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const StepExecutor& executor = open_executor("readBuffer", true);
    const int64_t index = to_integer(call[0], "index"), rows = to_integer(call[1], "rows");
    const ArrayView to = view_array(call[2], napi_float32_array, "Float32Array", "to");
    executor.read_buffer(index, rows, static_cast<float*>(const_cast<void*>(to.data)), to.length);
  });
}

void Executable::gather(const Napi::CallbackInfo& call) {
  with_js_errors(call.Env(), [&] {
    const StepExecutor& executor = open_executor("gather", true);
    const int64_t index = to_integer(call[0], "index"), rows = to_integer(call[1], "rows");
    executor.gather(index, rows, Calibration::of(call[2]));
  });
}

Napi::Value Executable::read_page(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const StepExecutor& executor = open_executor("readPage", true);
    const int64_t group = to_integer(call[0], "group"), page = to_integer(call[1], "page");
    const std::vector<uint8_t> bytes = executor.read_page(group, page);
    Napi::Uint8Array copy = Napi::Uint8Array::New(call.Env(), bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.Data());
    return copy;
  });
}

Napi::Value Executable::variants(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const auto names = open_executor("variants", false).variants();
    Napi::Array result = Napi::Array::New(call.Env(), names.size());
    for (uint32_t i = 0; i < names.size(); i++) result.Set(i, names[i]);
    return result;
  });
}

Napi::Value Executable::memory(const Napi::CallbackInfo& call) {
  return with_js_errors(call.Env(), [&]() -> Napi::Value {
    const ExecutorMemory memory = open_executor("memory", false).memory();
    Napi::Array weights = Napi::Array::New(call.Env(), memory.weights.size());
    for (uint32_t i = 0; i < memory.weights.size(); i++) weights.Set(i, static_cast<double>(memory.weights[i]));
    Napi::Object result = Napi::Object::New(call.Env());
    result.Set("weights", weights);
    result.Set("kv", static_cast<double>(memory.kv));
    result.Set("activations", static_cast<double>(memory.activations));
    return result;
  });
}

void Executable::close(const Napi::CallbackInfo& call) {
  if (executor_ == nullptr) return;
  // Answers that are queued by now still reach their callbacks.
  finish_threads();
  executor_.reset();
  spare_jobs_.clear();
  napi_remove_env_cleanup_hook(call.Env(), on_environment_exit, this);
  answers_.Release();
}

}  // namespace kvant
