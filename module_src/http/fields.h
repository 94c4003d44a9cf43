// Fields: the header fields of a request that a static file depends on, in one walk.
#pragma once

#include <cstddef>
#include <hrmr/module.hpp>
#include <string>
#include <string_view>

#include "conditional.h"

namespace http {

// Views into the request, or into `joined`; null data: not sent.
class Fields {
 public:
  explicit Fields(const hrmr::Request& request) {
    const hrmr_request* raw = request.raw();
    for (size_t i = 0; i < raw->header_count; ++i) note(raw->headers[i]);
  }
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  const Conditions& conditions() const { return conditions_; }
  std::string_view range() const { return range_; }
  std::string_view accept_encoding() const { return accept_encoding_; }

 private:
  static bool is(const hrmr_header& header, std::string_view name) {
    if (header.name.size != name.size()) return false;
    for (size_t i = 0; i < name.size(); ++i) {
      const char c = header.name.data[i];
      const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      if (lower != name[i]) return false;
    }
    return true;
  }

  void note(const hrmr_header& header) {
    switch (header.name.size) {
      case 5:
        if (is(header, "range")) take_single(header, range_);
        break;
      case 8:
        if (is(header, "if-match")) take_list(header, conditions_.if_match, joined_[0]);
        if (is(header, "if-range")) take_single(header, conditions_.if_range);
        break;
      case 13:
        if (is(header, "if-none-match")) take_list(header, conditions_.if_none_match, joined_[1]);
        break;
      case 15:
        if (is(header, "accept-encoding")) take_list(header, accept_encoding_, joined_[2]);
        break;
      case 17:
        if (is(header, "if-modified-since")) take_single(header, conditions_.if_modified_since);
        break;
      case 19:
        if (is(header, "if-unmodified-since")) take_single(header, conditions_.if_unmodified_since);
        break;
      default:
        break;
    }
  }

  static std::string_view value_of(const hrmr_header& header) {
    return header.value.data == nullptr ? std::string_view("")
                                        : std::string_view(header.value.data, header.value.size);
  }
  static void take_single(const hrmr_header& header, std::string_view& field) {
    field = was_sent(field) ? kRepeated : value_of(header);
  }
  // Several lines of a list are one list (RFC 9110 section 5.3).
  static void take_list(const hrmr_header& header, std::string_view& field, std::string& joined) {
    if (!was_sent(field)) {
      field = value_of(header);
      return;
    }
    if (joined.empty()) joined = field;
    joined.append(", ").append(value_of(header));
    field = joined;
  }

  Conditions conditions_;
  std::string_view range_;
  std::string_view accept_encoding_;
  std::string joined_[3];
};

}  // namespace http
