#pragma once
#include <string>

#include "kvant/format.h"

namespace kvant {

const char* format_name(Format format);
// Throws Error INVALID_ARGUMENT for a name that no format has; `what` says whose name it is.
Format parse_format(const std::string& name, const std::string& what);

}  // namespace kvant
