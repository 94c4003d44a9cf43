#include "server/http_route.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "base/limits.h"

namespace hrmr::server {
namespace {

using modules::RouteFraming;
using modules::RouteMatch;

// "METHOD /path?query HTTP/1.1" and on, as far as a prefix can reach.
class Key {
 public:
  Key(std::string_view method, const wire::Request& request) {
    put(method);
    put(" ");
    path_at_ = size_;
    put(request.path);
    if (request.query.data() != nullptr) {
      put("?");
      put(request.query);
    }
    const char* behind = request.target.data() + request.target.size();
    put(request.bytes.substr(static_cast<size_t>(behind - request.bytes.data())));
  }
  std::string_view view() const { return {text_, size_}; }
  size_t path_at() const { return path_at_; }

 private:
  void put(std::string_view part) {
    const size_t bytes = std::min(part.size(), sizeof text_ - size_);
    if (bytes != 0) std::memcpy(text_ + size_, part.data(), bytes);
    size_ += bytes;
  }

  char text_[limits::kPrefixBytesMax];
  size_t size_ = 0;
  size_t path_at_ = 0;
};

// Bytes of the request that `key_bytes` of the key stand for.
size_t request_bytes(const wire::Request& request, const Key& key, size_t key_bytes) {
  if (key_bytes < key.path_at()) return std::min(key_bytes, request.method.size() + 1);
  const size_t behind = key_bytes - key.path_at();
  const auto target_at = static_cast<size_t>(request.target.data() - request.bytes.data());
  const size_t target_end = target_at + request.target.size();
  // Where "?query" begins; a path that the target leaves out is no part of it.
  const size_t query_at =
      request.query.data() == nullptr
          ? target_end
          : static_cast<size_t>(request.query.data() - request.bytes.data()) - 1;
  if (behind >= request.path.size()) return query_at + (behind - request.path.size());
  return static_cast<size_t>(request.path.data() - request.bytes.data()) + behind;
}

RouteMatch match_as(const modules::RouteTable& table, std::string_view method, Exchange& exchange) {
  const Key key(method, exchange.request);
  const RouteMatch match = table.match(RouteFraming::kHttp, key.view());
  if (match.route != nullptr) {
    exchange.prefix_bytes = request_bytes(exchange.request, key, match.route->prefix.size());
  }
  return match;
}

// "GET, HEAD": the common methods that some route takes for this target; empty: none.
std::string allowed_methods(const modules::RouteTable& table, const wire::Request& request) {
  std::string allowed;
  for (const std::string_view method : {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}) {
    Exchange probe;
    probe.request = request;
    const bool is_head = method == "HEAD";
    const bool is_taken = match_as(table, method, probe).route != nullptr ||
                          (is_head && match_as(table, "GET", probe).route != nullptr);
    if (!is_taken) continue;
    if (!allowed.empty()) allowed += ", ";
    allowed += method;
  }
  return allowed;
}

}  // namespace

RouteMatch match_http(const modules::RouteTable& table, Exchange& exchange) {
  const wire::Request& request = exchange.request;
  const bool is_plain = request.target.data() == request.path.data();
  RouteMatch own{};
  if (is_plain) {
    own = table.match(RouteFraming::kHttp, request.bytes);
    if (own.route != nullptr) exchange.prefix_bytes = own.route->prefix.size();
  } else {
    own = match_as(table, request.method, exchange);
  }
  if (!request.head_only) return own;
  Exchange as_get = exchange;
  const RouteMatch get = match_as(table, "GET", as_get);
  // "HEAD " is one byte longer than "GET ".
  const bool is_closer =
      get.route != nullptr &&
      (own.route == nullptr || get.route->prefix.size() + 1 > own.route->prefix.size());
  if (!is_closer) return own;
  exchange.prefix_bytes = as_get.prefix_bytes;
  return get;
}

void refuse_unrouted(const modules::RouteTable& table, const wire::Request& request,
                     wire::ReplyWriter& reply) {
  const std::string what = "no route for '" + shown(request.bytes) + "'";
  std::string allowed;
  if (request.framing == wire::Framing::kHttp) allowed = allowed_methods(table, request);
  if (allowed.empty()) {
    reply.fail(404, what);
    return;
  }
  (void)reply.set_status(405);
  (void)reply.add_header("Allow", allowed);
  (void)reply.write(what + "; there is one for " + allowed + "\n");
}

}  // namespace hrmr::server
