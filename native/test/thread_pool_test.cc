#include "kvant/thread_pool.h"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <vector>

#include "check.h"

using namespace kvant;

// Every item is run exactly once, by a thread of the pool, in ranges no smaller than the grain (but for the last).
static void covers(ThreadPool& pool, int64_t count, int64_t grain) {
  std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
  std::atomic<int64_t> small{0};
  pool.parallel_for(count, grain, [&](int64_t begin, int64_t end, int thread) {
    CHECK(begin < end && end <= count);
    CHECK(thread >= 0 && thread < pool.threads());
    if (end - begin < grain && end != count) small++;
    for (int64_t i = begin; i < end; i++) hits[static_cast<size_t>(i)]++;
  });
  for (const auto& hit : hits) CHECK(hit == 1);
  CHECK(small == 0);
}

int main() {
  for (int threads : {1, 2, 3, 7}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (int64_t count : {0, 1, 2, 5, 64, 1000, 4097}) {
      for (int64_t grain : {1, 3, 16, 5000}) covers(pool, count, grain);
    }
    // Outside and inside of steps, with writes of one job visible to the next.
    std::vector<int64_t> values(512, 0);
    for (int step = 0; step < 50; step++) {
      if (step % 2 == 0) pool.begin_step();
      for (int op = 0; op < 20; op++) {
        pool.parallel_for(512, 8, [&](int64_t begin, int64_t end, int) {
          for (int64_t i = begin; i < end; i++) values[static_cast<size_t>(i)] += values[static_cast<size_t>(i)] % 3 + 1;
        });
      }
      if (step % 2 == 0) pool.end_step();
    }
    for (int64_t value : values) CHECK(value == values[0]);

    // Work aside runs once per step, whether or not a worker has come awake, and has ended when the step ends.
    int asides = 0;
    for (int step = 0; step < 200; step++) {
      const ThreadPoolStep awake(pool, [&] { asides++; });
      if (step % 2 == 0) pool.parallel_for(64, 8, [](int64_t, int64_t, int) {});
    }
    CHECK(asides == 200);

    // Whether an aside is heard before it ends, late or never, the jobs of the step and of later steps run.
    for (int step = 0; step < 30; step++) {
      const ThreadPoolStep awake(pool, [&] {
        if (step % 3 == 0) pool.aside_heard();
      });
      const auto long_enough_to_be_late = std::chrono::steady_clock::now() + std::chrono::microseconds(400);
      int jobs = 0;
      while (std::chrono::steady_clock::now() < long_enough_to_be_late || jobs < 4) {
        covers(pool, 64, 8);
        jobs++;
        if (step % 3 == 1 && jobs == 2) pool.aside_heard();
      }
    }
  }
  bool refused = false;
  try {
    ThreadPool pool(0);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  CHECK(refused);
  return 0;
}
