// Admin: who may use what changes the server: the built-in commands, and their HTTP forms.
//
// - Over a Unix socket: whoever its file's permissions have let in.
// - Without a token: from this machine; from anywhere with --admin any.
// - With a token: whoever has shown it, from anywhere, and nobody else, on this machine either:
//   its other users and its browsers are no less strangers.
//
// A browser is a way to this machine for every page that it shows. So an HTTP request is refused
// that a page of another origin may have made (Origin, Sec-Fetch-Site; csrf), or that is addressed
// to a name which may be a stranger's, pointed at us (Host; DNS rebinding).
//
// Threads: any; a value that is not changed.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/socket.h"

namespace hrmr::server {

struct Exchange;

struct AdminOptions {
  bool from_anywhere = false;
  std::string token;               // empty: there is none
  std::vector<std::string> hosts;  // names that HTTP requests may be addressed to
};

enum class Access : uint8_t { kGranted, kLocalOnly, kNeedsToken };

// Why an HTTP request is refused; status 0: it is not.
struct HttpRefusal {
  int status = 0;
  std::string_view message;
  bool is_wrong_token = false;
};

class Admin {
 public:
  explicit Admin(const AdminOptions& options) : options_(options) {}

  bool has_token() const { return !options_.token.empty(); }
  // Takes the same time for every wrong one of the same length.
  bool is_token(std::string_view given) const;
  Access access(const net::Peer& peer, bool has_shown_token) const;
  // All of the above for one request.
  HttpRefusal check_http(const Exchange& exchange, const net::Peer& peer) const;
  // Whether a page of a browser made this request that may be a stranger's: one of another origin,
  // or of a name that may have been pointed at us. Programs may use any name.
  bool is_from_strange_page(const Exchange& exchange) const;

 private:
  bool is_our_host(std::string_view host) const;

  const AdminOptions& options_;
};

// Whether a page of another origin may have made this request: its Origin is not the Host it was
// sent to, or the browser says so (Sec-Fetch-Site). Requests of programs say neither.
bool is_from_other_site(const Exchange& exchange);

// The value of the header, which is "" when it is not there.
std::string_view header_of(const Exchange& exchange, std::string_view name);

}  // namespace hrmr::server
