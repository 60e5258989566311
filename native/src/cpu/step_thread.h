#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "plan/step.h"

namespace kvant {

// A step on its way through the thread; reused for later steps, so that its vectors keep their memory.
struct StepJob {
  StepInputs inputs;
  StepOutputs outputs;
  std::string error;  // empty on success
};

// One thread that runs steps in the order of submission, so that the caller can prepare the next step meanwhile. It runs
// below the priority of the rest of the process.
class StepThread {
 public:
  // May throw; the message becomes the job's error. `aside`, where not empty, gives the answer of the job before, which waits for
  // it until the run ends: a run calls it as soon as its own work is under way, from any thread, before it returns. To wake the answer's
  // reader takes longer than many an op, and kernels should not wait for that.
  using Run = std::function<void(StepJob&, const std::function<void()>& aside)>;
  using Answer = std::function<void(std::unique_ptr<StepJob>)>;  // must not throw; called in order, one at a time

  // `name` is what the system calls the thread; at most 15 characters.
  StepThread(const char* name, Run run, Answer answer);
  // As `finish`.
  ~StepThread();

  void submit(std::unique_ptr<StepJob> job);
  // Runs what is queued, then ends the thread. Later submissions are not allowed.
  void finish();
  // Drops what is queued without an answer, waits for the step that runs, then ends the thread.
  void abandon();

 private:
  void work(const char* name);
  void stop(bool drop_queued);

  const Run run_;
  const Answer answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<StepJob>> queue_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace kvant
