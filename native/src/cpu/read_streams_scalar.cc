#include "cpu/read_streams.h"

namespace kvant::scalar_streams {

#include "cpu/read_streams.inc.h"

}  // namespace kvant::scalar_streams
