#include "cpu/read_streams.h"

namespace kvant::neon_streams {

#include "cpu/read_streams.inc.h"

}  // namespace kvant::neon_streams
