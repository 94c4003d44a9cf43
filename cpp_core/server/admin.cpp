#include "server/admin.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/text.h"
#include "server/exchange.h"

namespace hrmr::server {
namespace {

bool is_address(int family, std::string_view text) {
  const std::string terminated(text);
  in6_addr room{};  // the larger of the two
  return ::inet_pton(family, terminated.c_str(), &room) == 1;
}

// The host of "host:port", "[::1]:80"; brackets are kept.
std::string_view without_port(std::string_view authority) {
  if (!authority.empty() && authority[0] == '[') {
    return authority.substr(0, std::min(authority.find(']') + 1, authority.size()));
  }
  return authority.substr(0, authority.find(':'));
}

std::string_view bearer_of(const Exchange& exchange) {
  constexpr std::string_view kScheme = "Bearer ";
  std::string_view value = header_of(exchange, "authorization");
  if (!equals_ignoring_case(value.substr(0, kScheme.size()), kScheme)) return {};
  value.remove_prefix(kScheme.size());
  while (!value.empty() && value[0] == ' ') value.remove_prefix(1);
  return value;
}

}  // namespace

std::string_view header_of(const Exchange& exchange, std::string_view name) {
  for (size_t i = 0; i < exchange.header_count; ++i) {
    const wire::Header& header = exchange.headers[i];
    if (equals_ignoring_case(header.name, name)) return header.value;
  }
  return {};
}

bool is_from_other_site(const Exchange& exchange) {
  const std::string_view site = header_of(exchange, "sec-fetch-site");
  if (!site.empty() && site != "same-origin" && site != "none") return true;
  std::string_view origin = header_of(exchange, "origin");
  if (origin.empty()) return false;
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!starts_with(origin, scheme)) continue;
    origin.remove_prefix(scheme.size());
    return !equals_ignoring_case(origin, header_of(exchange, "host"));
  }
  return true;  // "null", or an origin that is no web page's
}

bool Admin::is_token(std::string_view given) const {
  const std::string& token = options_.token;
  if (token.empty()) return false;
  // `volatile`, so that no compiler ends the loop at the first difference.
  volatile unsigned char difference = given.size() == token.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    difference = static_cast<unsigned char>(
        difference | static_cast<unsigned char>(given[i] ^ token[i % token.size()]));
  }
  return difference == 0;
}

Access Admin::access(const net::Peer& peer, bool has_shown_token) const {
  if (peer.is_unix || has_shown_token) return Access::kGranted;
  if (has_token()) return Access::kNeedsToken;
  return options_.from_anywhere || peer.is_local ? Access::kGranted : Access::kLocalOnly;
}

// An address cannot be pointed elsewhere, and "localhost" is resolved by the browser itself.
bool Admin::is_our_host(std::string_view host) const {
  if (equals_ignoring_case(host, "localhost")) return true;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    return is_address(AF_INET6, host.substr(1, host.size() - 2));
  }
  if (is_address(AF_INET, host)) return true;
  return std::any_of(options_.hosts.begin(), options_.hosts.end(),
                     [host](const std::string& name) { return equals_ignoring_case(name, host); });
}

bool Admin::is_from_strange_page(const Exchange& exchange) const {
  const bool is_page =
      !header_of(exchange, "origin").empty() || !header_of(exchange, "sec-fetch-site").empty();
  if (!is_page) return false;
  return is_from_other_site(exchange) || !is_our_host(without_port(header_of(exchange, "host")));
}

HttpRefusal Admin::check_http(const Exchange& exchange, const net::Peer& peer) const {
  if (!is_our_host(without_port(header_of(exchange, "host")))) {
    return {403,
            "the Host header is neither an IP address nor localhost; to allow a name, start hrmr "
            "with --admin-host",
            false};
  }
  if (is_from_other_site(exchange)) return {403, "asked for by a page of another origin", false};
  const std::string_view shown = bearer_of(exchange);
  switch (access(peer, is_token(shown))) {
    case Access::kGranted:
      return {};
    case Access::kLocalOnly:
      return {403,
              "taken from this machine only; to take it from anywhere, start hrmr with --admin any",
              false};
    default:
      break;
  }
  if (shown.empty()) return {401, "needs the admin token: Authorization: Bearer TOKEN", false};
  return {401, "wrong token", true};
}

}  // namespace hrmr::server
