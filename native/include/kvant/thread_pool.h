#pragma once
#include <cstdint>
#include <functional>
#include <utility>

namespace kvant {

// Runs ranges of independent items on a fixed set of threads; the calling thread is one of them. Results never depend on
// which thread runs an item. Workers spin only inside a step (between begin_step and end_step) and park otherwise. They run
// at a lower priority than the rest of the process, so that an event loop on the same cores stays responsive.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  // Wakes the workers. `aside` is work beside the step's own: a worker calls it before it takes part in the first job. Where none
  // is awake for it, the caller does after the first job that is handed out, or at the end of a step without one (at once where
  // there are no workers). It runs once and must not throw.
  // It may wake a thread outside the pool, as an answer wakes its reader. Until that has called `aside_heard`, and once it is late,
  // the pool's threads yield between jobs: with all cores full of kernels the system may else leave the reader waiting to the
  // step's end.
  void begin_step(std::function<void()> aside = {});
  // Returns when `aside` has been called.
  void end_step();
  // From any thread.
  void aside_heard();
  // Calls body(begin, end, thread) over disjoint ranges that cover [0, count); returns when all are done. `grain` is the
  // smallest range handed out. body must not throw and must not call parallel_for.
  void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end, int thread)>& body);

 private:
  struct State;
  State* state_;
};

// Keeps the workers of a pool awake from here to the end of the scope.
class ThreadPoolStep {
 public:
  explicit ThreadPoolStep(ThreadPool& pool, std::function<void()> aside = {}) : pool_(pool) {
    pool_.begin_step(std::move(aside));
  }
  ~ThreadPoolStep() { pool_.end_step(); }
  ThreadPoolStep(const ThreadPoolStep&) = delete;
  ThreadPoolStep& operator=(const ThreadPoolStep&) = delete;

 private:
  ThreadPool& pool_;
};

}  // namespace kvant
