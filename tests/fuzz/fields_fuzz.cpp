// The fields that a static file's answer depends on: dates, lists of entity tags, Accept-Encoding
// (module_src/http/date.h, etag.h, conditional.h, encoding.h). The input is read as each of them.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"
#include "http/conditional.h"
#include "http/encoding.h"

namespace {

constexpr int64_t kNow = 1'780'000'000;

void check_date(std::string_view field) {
  const std::optional<int64_t> date = http::parse_date(field, kNow);
  if (!date.has_value()) return;
  const http::DateText text(*date);
  HRMR_CHECK(http::parse_date(text.view(), kNow) == date || *date < -62167219200 ||
             *date > 253402300799);
}

void check_tags(std::string_view field) {
  const http::Etag listed{false, "\"a\""};
  const bool is_weakly = http::etag_list_has(field, listed, false);
  HRMR_CHECK(is_weakly || !http::etag_list_has(field, listed, true));
  HRMR_CHECK(!is_weakly || field.find("\"a\"") != std::string_view::npos ||
             field.find('*') != std::string_view::npos);
  // What is behind a list changes nothing of what was found in it.
  const std::string longer = std::string(field) + ", \"b\"";
  HRMR_CHECK(!is_weakly || field.find('*') != std::string_view::npos ||
             http::etag_list_has(longer, listed, false));
  const http::Validators current{listed, 784111777, kNow};
  const bool applies = http::range_applies(field, current);
  HRMR_CHECK(!applies || field == listed.opaque || http::parse_date(field, kNow).has_value());
}

void check_codings(std::string_view field) {
  const http::Accepted accepted = http::parse_accept_encoding(field);
  HRMR_CHECK(accepted.count <= http::kCodings);
  for (size_t i = 0; i < accepted.count; ++i) {
    for (size_t j = 0; j < i; ++j) HRMR_CHECK(accepted.order[i] != accepted.order[j]);
  }
  const http::Accepted upper =
      http::parse_accept_encoding(std::string(field) + ",unheard-of;q=0.3");
  HRMR_CHECK(upper.key() == accepted.key());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const std::string_view field(count == 0 ? "" : reinterpret_cast<const char*>(bytes), count);
  check_date(field);
  check_tags(field);
  check_codings(field);
  return 0;
}
