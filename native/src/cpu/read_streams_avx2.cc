#include "cpu/read_streams.h"

namespace kvant::avx2_streams {

#include "cpu/read_streams.inc.h"

}  // namespace kvant::avx2_streams
