#include "kvant/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cpu/cpu_pause.h"
#include "cpu/thread_priority.h"

namespace kvant {
namespace {

// Ops of a decode step follow each other within microseconds, so a waiting thread first spins. On a busy machine the thread
// that it waits for may need this very core: after the spin it yields, and soon it parks.
constexpr auto kSpin = std::chrono::microseconds(20);
constexpr auto kYield = std::chrono::microseconds(60);

// Returns once `done()` holds or the patience is used up.
template <typename Done>
bool wait_awake(const Done& done) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int i = 0; i < 16; i++) {
      if (done()) return true;
      cpu_pause();
    }
    const auto waited = std::chrono::steady_clock::now() - start;
    if (waited > kYield) return done();
    if (waited > kSpin) std::this_thread::yield();
  }
}

// The reader of an answer wakes in some 50 us and works for 100; the threads yield to one who takes longer.
constexpr auto kHearing = std::chrono::microseconds(150);

int64_t nanoseconds_now() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The gate of a job: bit 31 says open, the low bits count the workers inside, the bits between number the job. A worker that
// was asleep through a whole job finds the gate closed and skips it, so nobody ever waits for a worker without work.
constexpr uint32_t kOpen = 1u << 31;
constexpr uint32_t kInsideMask = (1u << 12) - 1;
constexpr uint32_t kJobStep = 1u << 12;

}  // namespace

struct ThreadPool::State {
  // Written by the caller while the gate is closed and nobody is inside.
  const std::function<void(int64_t, int64_t, int)>* body = nullptr;
  int64_t count = 0, grain = 1;

  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<uint32_t> gate{0};
  // Changes whenever workers have a reason to look up.
  alignas(64) std::atomic<uint32_t> signal{0};
  std::atomic<bool> in_step{false};
  std::function<void()> aside;  // written by the caller while nobody has been offered one
  enum class Aside { none, offered, running };
  std::atomic<Aside> aside_state{Aside::none};
  // When an aside began that has not been heard, by nanoseconds_now; 0: none.
  std::atomic<int64_t> unheard_since{0};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> workers;

  int threads() const { return static_cast<int>(workers.size()) + 1; }

  void call_workers() {
    signal.fetch_add(1, std::memory_order_release);
    signal.notify_all();
  }

  void offer_aside(std::function<void()> work) {
    unheard_since.store(0, std::memory_order_relaxed);
    if (!work) return;
    aside = std::move(work);
    aside_state.store(Aside::offered, std::memory_order_release);
  }

  void take_aside() {
    Aside seen = Aside::offered;
    if (aside_state.load(std::memory_order_relaxed) != seen) return;
    if (!aside_state.compare_exchange_strong(seen, Aside::running, std::memory_order_acquire)) return;
    // First, since whom it wakes may be through before it returns.
    unheard_since.store(nanoseconds_now(), std::memory_order_relaxed);
    aside();
    aside_state.store(Aside::none, std::memory_order_release);
    aside_state.notify_one();
  }

  void finish_aside() {
    take_aside();
    const auto done = [this] { return aside_state.load(std::memory_order_acquire) == Aside::none; };
    while (!wait_awake(done)) aside_state.wait(Aside::running, std::memory_order_acquire);
  }

  void give_way() const {
    const int64_t since = unheard_since.load(std::memory_order_relaxed);
    if (since != 0 && nanoseconds_now() - since > std::chrono::nanoseconds(kHearing).count()) std::this_thread::yield();
  }

  // Takes ranges that shrink as the job ends (guided self-scheduling): few hand-outs, and all threads finish together.
  void take_ranges(int thread) {
    const int64_t share = 2 * static_cast<int64_t>(threads());
    int64_t begin = next.load(std::memory_order_relaxed);
    while (begin < count) {
      const int64_t end = std::min(count, begin + std::max(grain, (count - begin) / share));
      if (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed)) continue;
      (*body)(begin, end, thread);
      begin = next.load(std::memory_order_relaxed);
    }
  }

  bool enter() {
    uint32_t seen = gate.load(std::memory_order_relaxed);
    while ((seen & kOpen) != 0) {
      if (gate.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
    }
    return false;
  }

  void leave() {
    const uint32_t before = gate.fetch_sub(1, std::memory_order_release);
    if ((before & kOpen) == 0 && (before & kInsideMask) == 1) gate.notify_one();
  }

  void close_and_wait() {
    gate.fetch_and(~kOpen, std::memory_order_relaxed);
    const auto empty = [this] { return (gate.load(std::memory_order_acquire) & kInsideMask) == 0; };
    while (!wait_awake(empty)) {
      const uint32_t seen = gate.load(std::memory_order_acquire);
      if ((seen & kInsideMask) != 0) gate.wait(seen, std::memory_order_acquire);
    }
  }

  void work(int thread) {
    become_compute_thread("kvant-compute");
    uint32_t seen = 0;
    while (!stopping.load(std::memory_order_acquire)) {
      const auto called = [&] { return signal.load(std::memory_order_acquire) != seen; };
      if (!in_step.load(std::memory_order_relaxed) || !wait_awake(called)) signal.wait(seen, std::memory_order_acquire);
      seen = signal.load(std::memory_order_acquire);
      take_aside();
      if (!enter()) continue;
      take_ranges(thread);
      leave();
      give_way();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(nullptr) {
  constexpr int kMaxThreads = 1024;
  if (threads < 1 || threads > kMaxThreads) {
    throw std::invalid_argument("threads is " + std::to_string(threads) + ", must be 1 to " + std::to_string(kMaxThreads));
  }
  state_ = new State;
  try {
    for (int i = 1; i < threads; i++) state_->workers.emplace_back([state = state_, i] { state->work(i); });
  } catch (...) {
    this->~ThreadPool();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  state_->stopping.store(true, std::memory_order_release);
  state_->call_workers();
  for (std::thread& worker : state_->workers) worker.join();
  delete state_;
}

int ThreadPool::threads() const { return state_->threads(); }

void ThreadPool::begin_step(std::function<void()> aside) {
  if (state_->workers.empty()) {
    if (aside) aside();
    return;
  }
  state_->offer_aside(std::move(aside));
  state_->in_step.store(true, std::memory_order_relaxed);
  state_->call_workers();
}

void ThreadPool::end_step() {
  state_->in_step.store(false, std::memory_order_relaxed);
  state_->finish_aside();
}

void ThreadPool::aside_heard() { state_->unheard_since.store(0, std::memory_order_relaxed); }

void ThreadPool::parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body) {
  if (count <= 0) return;
  if (count <= grain || state_->workers.empty()) return body(0, count, 0);
  State& state = *state_;
  state.body = &body;
  state.count = count;
  state.grain = std::max<int64_t>(1, grain);
  state.next.store(0, std::memory_order_relaxed);
  const uint32_t gate = state.gate.load(std::memory_order_relaxed);
  state.gate.store(((gate + kJobStep) & ~kInsideMask) | kOpen, std::memory_order_release);
  state.call_workers();
  state.give_way();
  state.take_ranges(0);
  state.close_and_wait();
  state.take_aside();  // where no worker was awake for it
}

}  // namespace kvant
