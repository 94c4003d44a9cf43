// Percent-decoding and normalising (module_src/http/path.h). The input is a request's target
// without its query.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/path.h"

namespace {

using http::Path;
using http::PathKind;

void check_names(std::string_view path) {
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    HRMR_CHECK(!name.empty() && name != "." && name != "..");
    for (const char c : name) {
      const auto byte = static_cast<unsigned char>(c);
      HRMR_CHECK(byte >= 0x20 && byte != 0x7f && c != '\\');
    }
    path.remove_prefix(name.size());
    if (path.empty()) return;
    path.remove_prefix(1);
    HRMR_CHECK(!path.empty());  // no slash at the end
  }
}

// Escaped twice it is undone once: what is found then has the escapes in its name.
void check_escaped_twice(std::string_view path) {
  const std::string escaped = http::encode_path(path);
  std::string twice = "/";
  for (const char c : escaped) twice += c == '%' ? "%25" : std::string(1, c);
  Path found;
  if (http::decode_path(twice, found) != PathKind::kTooLong) HRMR_CHECK(found.view() == escaped);
}

// RFC 9112 section 3.2.2: with the authority in front it is the same target.
void check_absolute(std::string_view target, const Path& path, PathKind kind) {
  if (target.substr(0, 1) != "/") return;
  Path same;
  HRMR_CHECK(http::decode_path("HTTP://a:1" + std::string(target), same) == kind);
  HRMR_CHECK(same.view() == path.view());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string_view target(reinterpret_cast<const char*>(bytes), count);
  Path path;
  const PathKind kind = http::decode_path(target, path);
  HRMR_CHECK(path.size() <= http::kPathBytesMax);
  HRMR_CHECK(path.c_str()[path.size()] == '\0');
  HRMR_CHECK(path.size() <= target.size());
  check_absolute(target, path, kind);
  if (kind == PathKind::kMalformed || kind == PathKind::kTooLong) return 0;
  check_names(path.view());
  check_escaped_twice(path.view());

  // Written down as a location and asked for again, it is the same path: nothing is decoded twice.
  std::string again = "/" + http::encode_path(path.view());
  if (kind == PathKind::kFolder && again.back() != '/') again += '/';
  Path same;
  const PathKind same_kind = http::decode_path(again, same);
  HRMR_CHECK(same.view() == path.view());
  HRMR_CHECK(same_kind == kind || kind == PathKind::kHidden);
  if (kind != PathKind::kHidden) {
    const std::string_view names = path.view();
    HRMR_CHECK(names.find("/.") == std::string_view::npos);
    HRMR_CHECK(names.substr(0, 1) != "." || names.substr(0, 11) == ".well-known");
  }
  return 0;
}
