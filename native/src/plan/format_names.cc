#include "plan/format_names.h"

#include "plan/error.h"

namespace kvant {
namespace {

constexpr Format kFormats[] = {Format::fp32, Format::bf16, Format::fp16, Format::int8,
                               Format::int4, Format::e4m3, Format::e5m2, Format::e2m1};

}  // namespace

const char* format_name(Format format) {
  switch (format) {
    case Format::fp32: return "fp32";
    case Format::bf16: return "bf16";
    case Format::fp16: return "fp16";
    case Format::int8: return "int8";
    case Format::int4: return "int4";
    case Format::e4m3: return "e4m3";
    case Format::e5m2: return "e5m2";
    case Format::e2m1: return "e2m1";
  }
  return "";
}

Format parse_format(const std::string& name, const std::string& what) {
  std::string known;
  for (Format format : kFormats) {
    if (name == format_name(format)) return format;
    known += std::string(known.empty() ? "" : ", ") + format_name(format);
  }
  throw invalid(what + " is \"" + name + "\", must be one of " + known);
}

}  // namespace kvant
