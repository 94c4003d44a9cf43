#include "modules/route.h"

#include <array>

#include "base/limits.h"
#include "base/text.h"
#include "modules/command_name.h"

namespace hrmr::modules {

namespace {

// RFC 9110 section 9.3, and RFC 5789.
constexpr std::array<std::string_view, 9> kHttpMethods = {
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

// What the server answers itself before it looks for a route.
constexpr std::array<std::string_view, 3> kBuiltInWords = {"RELOAD", "CLOSE", "SHUTDOWN"};

// RFC 9110 section 5.6.2.
bool is_token_char(char c) {
  const char lower = ascii_lower(c);
  if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9')) return true;
  return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

}  // namespace

RouteFraming framing_of_prefix(std::string_view prefix) {
  for (const std::string_view method : kHttpMethods) {
    if (!starts_with(prefix, method)) continue;
    const std::string_view rest = prefix.substr(method.size());
    if (rest.empty() || rest.front() == ' ' || rest.front() == '/') return RouteFraming::kHttp;
  }
  size_t token_bytes = 0;
  while (token_bytes < prefix.size() && is_token_char(prefix[token_bytes])) ++token_bytes;
  const bool is_http = token_bytes != 0 && starts_with(prefix.substr(token_bytes), " /");
  return is_http ? RouteFraming::kHttp : RouteFraming::kLine;
}

Status check_prefix(std::string_view prefix, RouteFraming framing) {
  if (framing == RouteFraming::kCommand) return check_command_name(prefix);
  if (prefix.empty()) return Status::error("a prefix must not be empty");
  if (prefix.size() > limits::kPrefixBytesMax) {
    return Status::error("a prefix of " + std::to_string(prefix.size()) + " bytes, more than the " +
                         std::to_string(limits::kPrefixBytesMax) + " allowed, beginning '" +
                         std::string(prefix.substr(0, 32)) + "'");
  }
  if (framing == RouteFraming::kHttp) {
    if (!starts_with(prefix, kCallPrefix)) return Status::ok();
    return Status::error("prefix '" + std::string(prefix) +
                         "' belongs to HRMR itself: POST /call/NAME calls the command NAME");
  }
  for (const std::string_view word : kBuiltInWords) {
    if (equals_ignoring_case(prefix, word)) {
      return Status::error("prefix '" + std::string(prefix) + "' belongs to HRMR itself");
    }
  }
  return Status::ok();
}

std::string shown(const Route& route) {
  const char* kind = route.framing == RouteFraming::kCommand ? "command '" : "prefix '";
  return kind + route.prefix + "'";
}

Status check_interval(uint64_t interval_ms) {
  if (interval_ms >= limits::kTimerIntervalMsMin && interval_ms <= limits::kTimerIntervalMsMax) {
    return Status::ok();
  }
  return Status::error("a timer of " + std::to_string(interval_ms) + " ms: the interval must be " +
                       std::to_string(limits::kTimerIntervalMsMin) + " to " +
                       std::to_string(limits::kTimerIntervalMsMax) + " ms");
}

}  // namespace hrmr::modules
