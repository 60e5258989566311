#pragma once

namespace kvant {

// Lowers the calling thread below the rest of the process and names it for debuggers. Kernels fill the cores; on the same
// cores an event loop must still get its turn at once.
void become_compute_thread(const char* name);

}  // namespace kvant
