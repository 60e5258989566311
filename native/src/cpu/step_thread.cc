#include "cpu/step_thread.h"

#include <exception>

#include "cpu/thread_priority.h"

namespace kvant {

StepThread::StepThread(const char* name, Run run, Answer answer)
    : run_(std::move(run)), answer_(std::move(answer)), thread_([this, name] { work(name); }) {}

StepThread::~StepThread() { finish(); }

void StepThread::submit(std::unique_ptr<StepJob> job) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
  }
  changed_.notify_one();
}

void StepThread::finish() { stop(false); }

void StepThread::abandon() { stop(true); }

void StepThread::stop(bool drop_queued) {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (drop_queued) queue_.clear();
  }
  changed_.notify_one();
  thread_.join();
}

void StepThread::work(const char* name) {
  become_compute_thread(name);
  std::unique_ptr<StepJob> ended;  // has run and waits for its answer: until the next has begun, where one is queued
  const std::function<void()> answer = [&] {
    if (ended) answer_(std::move(ended));
  };
  std::unique_lock lock(mutex_);
  for (;;) {
    if (queue_.empty() && ended) {
      lock.unlock();
      answer();
      lock.lock();
    }
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    std::unique_ptr<StepJob> job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    try {
      run_(*job, ended ? answer : std::function<void()>());
    } catch (const std::exception& error) {
      job->error = *error.what() == '\0' ? "the step failed without a message" : error.what();
    }
    answer();
    ended = std::move(job);
    lock.lock();
  }
}

}  // namespace kvant
