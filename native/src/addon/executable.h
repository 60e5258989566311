#pragma once
#include <napi.h>

#include <deque>
#include <memory>
#include <vector>

#include "cpu/step_thread.h"
#include "plan/step_executor.h"

namespace kvant {

// packages/kernels/src/cpu/native-addon.ts `NativeExecutable`. All methods run on the JavaScript thread; steps run on a thread
// of their own and come back through one thread-safe function. While a step is in flight this object and the event loop stay
// alive; without one neither is held.
class Executable : public Napi::ObjectWrap<Executable> {
 public:
  static Napi::Function define(Napi::Env env);
  // (plan, options)
  explicit Executable(const Napi::CallbackInfo& call);
  ~Executable() override;

 private:
  static void deliver(Napi::Env env, Napi::Function, Executable* self, StepJob* job);
  using Answers = Napi::TypedThreadSafeFunction<Executable, StepJob, deliver>;

  void load_weight(const Napi::CallbackInfo& call);
  void load_codes(const Napi::CallbackInfo& call);
  void warm_up(const Napi::CallbackInfo& call);
  void submit(const Napi::CallbackInfo& call);
  void write_buffer(const Napi::CallbackInfo& call);
  void read_buffer(const Napi::CallbackInfo& call);
  void gather(const Napi::CallbackInfo& call);
  Napi::Value read_page(const Napi::CallbackInfo& call);
  Napi::Value variants(const Napi::CallbackInfo& call);
  Napi::Value memory(const Napi::CallbackInfo& call);
  void close(const Napi::CallbackInfo& call);

  // Throws Error when closed; `between_steps` also when a step is in flight.
  StepExecutor& open_executor(const char* method, bool between_steps);
  std::unique_ptr<StepJob> take_job();
  void start_threads();
  void finish_threads();
  void settle(Napi::Env env, std::unique_ptr<StepJob> job);
  static void on_environment_exit(void* self);

  std::unique_ptr<StepExecutor> executor_;  // null: closed
  // Steps run on `thread_`; with an executor that works in two parts it starts them, and `finisher_` waits for their ends.
  std::unique_ptr<StepThread> thread_, finisher_;
  Answers answers_;
  std::deque<Napi::FunctionReference> waiting_;  // `done` of the steps in flight; answers come in order
  std::vector<std::unique_ptr<StepJob>> spare_jobs_;
  bool weights_complete_ = false;
};

}  // namespace kvant
