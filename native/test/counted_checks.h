#pragma once
// Checks that go on after a failure: one test program looks at thousands of schemes and shapes and names those that fail.
#include <cstdio>

namespace kvant_test {

inline int failures = 0;

// Says how all went since the last report.
inline void report(const char* what) {
  static int before = 0;
  std::printf("%s %s\n", failures == before ? "ok" : "FAILED", what);
  before = failures;
}

// `what` is built only when the check fails.
template <class What>
void check(bool good, const What& what) {
  if (good) return;
  failures++;
  if (failures <= 30) std::printf("FAILED %s\n", what().c_str());
}

}  // namespace kvant_test
