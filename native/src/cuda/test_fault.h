#pragma once

namespace kvant::cuda {

// Faults that tests order through the environment: KVANT_TEST_FAULT=PLACE[@N][:FILE] makes the N-th passage (default: the
// first) of PLACE fail. With FILE it happens only while FILE does not exist, and makes it, so that a restarted process runs on.
// Places: alloc-load, alloc-capture, alloc-step, sticky (a kernel writes where there is no memory), download.
bool test_fault(const char* place);

}  // namespace kvant::cuda
