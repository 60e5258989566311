#include "cpu/thread_priority.h"

#include <pthread.h>

#if defined(__linux__)
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <pthread/qos.h>
#endif

namespace kvant {

void become_compute_thread(const char* name) {
#if defined(__linux__)
  // Linux gives every thread its own nice value. Each step of 1 changes the weight by 1.25: at +5 a thread at the default
  // gets about three times the share of this one.
  constexpr int kNice = 5;
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + kNice);
  pthread_setname_np(pthread_self(), name);
#elif defined(__APPLE__)
  pthread_set_qos_class_self_np(QOS_CLASS_UTILITY, 0);
  pthread_setname_np(name);
#else
  static_cast<void>(name);
#endif
}

}  // namespace kvant
