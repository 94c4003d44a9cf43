#include "server/admin.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "server/exchange.h"

using namespace hrmr;
using namespace hrmr::server;

namespace {

constexpr const char* kToken = "0123456789abcdef";

net::Peer peer(bool is_local, bool is_unix = false) {
  net::Peer made{};
  made.is_local = is_local;
  made.is_unix = is_unix;
  return made;
}

AdminOptions with_token() {
  AdminOptions options;
  options.token = kToken;
  return options;
}

// A POST with these headers.
struct Asked {
  Asked(std::initializer_list<std::pair<std::string_view, std::string_view>> given) {
    for (const auto& [name, value] : given) headers.push_back({name, value});
    exchange.headers = headers.data();
    exchange.header_count = headers.size();
  }
  std::vector<wire::Header> headers;
  Exchange exchange;
};

int status_of(const AdminOptions& options, const Asked& asked, const net::Peer& from) {
  return Admin(options).check_http(asked.exchange, from).status;
}

}  // namespace

TEST_CASE("without a token it is the place that counts") {
  AdminOptions options;
  const Admin near(options);
  CHECK(near.access(peer(true), false) == Access::kGranted);
  CHECK(near.access(peer(false), false) == Access::kLocalOnly);
  CHECK(near.access(peer(true, true), false) == Access::kGranted);
  CHECK_FALSE(near.has_token());
  CHECK_FALSE(near.is_token(""));
  AdminOptions any;
  any.from_anywhere = true;
  CHECK(Admin(any).access(peer(false), false) == Access::kGranted);
}

TEST_CASE("with a token it is the token that counts, but for a Unix socket") {
  for (const bool from_anywhere : {false, true}) {
    AdminOptions options = with_token();
    options.from_anywhere = from_anywhere;
    const Admin admin(options);
    for (const bool is_local : {false, true}) {
      CHECK(admin.access(peer(is_local), false) == Access::kNeedsToken);
      CHECK(admin.access(peer(is_local), true) == Access::kGranted);
    }
    CHECK(admin.access(peer(true, true), false) == Access::kGranted);
  }
}

TEST_CASE("only the very token is the token") {
  const AdminOptions options = with_token();
  const Admin admin(options);
  CHECK(admin.is_token(kToken));
  for (const std::string& wrong :
       {std::string(), std::string("0"), std::string("0123456789abcde"),
        std::string("0123456789abcdeF"), std::string("x123456789abcdef"),
        std::string("0123456789abcdef0"), std::string(kToken) + kToken, std::string(16, '\0')}) {
    CAPTURE(wrong);
    CHECK_FALSE(admin.is_token(wrong));
  }
}

TEST_CASE("an HTTP request must be addressed to an address, to localhost or to a name of ours") {
  AdminOptions options;
  options.hosts = {"router.internal"};
  for (const char* good :
       {"localhost", "localhost:8080", "LocalHost:1", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080",
        "[::1]", "10.1.2.3:80", "router.internal", "Router.Internal:8080"}) {
    CAPTURE(good);
    CHECK(status_of(options, {{"Host", good}}, peer(true)) == 0);
  }
  for (const char* bad : {"", "evil.example", "evil.example:8080", "127.0.0.1.evil.example",
                          "localhost.evil.example", "localhost.", "[evil.example]", "[]", "[::1",
                          "127.1", "0x7f.0.0.1", "2130706433", "internal", "[127.0.0.1]"}) {
    CAPTURE(bad);
    CHECK(status_of(options, {{"Host", bad}}, peer(true)) == 403);
    CHECK(status_of(options, {{"Host", bad}}, peer(true, true)) == 403);
  }
  CHECK(status_of(options, {}, peer(true)) == 403);
}

TEST_CASE("a page of another origin is refused, a program and our own pages are not") {
  const AdminOptions options;
  const auto with = [&](std::string_view name, std::string_view value) {
    return status_of(options, {{"Host", "127.0.0.1:8080"}, {name, value}}, peer(true));
  };
  CHECK(with("Accept", "*/*") == 0);
  CHECK(with("Origin", "http://127.0.0.1:8080") == 0);
  CHECK(with("Origin", "https://127.0.0.1:8080") == 0);
  CHECK(with("Sec-Fetch-Site", "same-origin") == 0);
  CHECK(with("Sec-Fetch-Site", "none") == 0);
  for (const char* origin :
       {"http://127.0.0.1", "http://127.0.0.1:8081", "http://localhost:8080", "null",
        "http://evil.example", "file://", "http://127.0.0.1:8080.evil.example", "127.0.0.1:8080"}) {
    CAPTURE(origin);
    CHECK(with("Origin", origin) == 403);
  }
  for (const char* site : {"cross-site", "same-site", "anything"}) {
    CAPTURE(site);
    CHECK(with("sec-fetch-site", site) == 403);
  }
}

TEST_CASE("a page is strange by its origin or by its name, a program never") {
  AdminOptions options;
  options.hosts = {"router.internal"};
  const Admin admin(options);
  const auto is_strange = [&](std::string_view host, std::string_view name,
                              std::string_view value) {
    const Asked asked{{"Host", host}, {name, value}};
    return admin.is_from_strange_page(asked.exchange);
  };
  CHECK_FALSE(is_strange("any.example", "Accept", "*/*"));
  CHECK_FALSE(is_strange("localhost:80", "Origin", "http://localhost:80"));
  CHECK_FALSE(is_strange("router.internal", "Origin", "http://router.internal"));
  CHECK_FALSE(is_strange("127.0.0.1", "Sec-Fetch-Site", "same-origin"));
  CHECK(is_strange("127.0.0.1", "Origin", "http://evil.example"));
  CHECK(is_strange("evil.example", "Origin", "http://evil.example"));
  CHECK(is_strange("evil.example", "Sec-Fetch-Site", "same-origin"));
}

TEST_CASE("a page of another origin is refused even with the token and over a Unix socket") {
  const AdminOptions options = with_token();
  const std::string bearer = std::string("Bearer ") + kToken;
  const Asked asked{
      {"Host", "localhost"}, {"Origin", "http://evil.example"}, {"Authorization", bearer}};
  CHECK(status_of(options, asked, peer(true)) == 403);
  CHECK(status_of(options, asked, peer(true, true)) == 403);
}

TEST_CASE("Authorization: Bearer shows the token") {
  const AdminOptions options = with_token();
  const auto with = [&](const std::string& value, bool is_local = false) {
    return status_of(options, {{"Host", "10.0.0.5"}, {"authorization", value}}, peer(is_local));
  };
  CHECK(with(std::string("Bearer ") + kToken) == 0);
  CHECK(with(std::string("bearer   ") + kToken) == 0);
  for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer 0123456789abcdeX",
                            "Basic 0123456789abcdef", "0123456789abcdef"}) {
    CAPTURE(wrong);
    CHECK(with(wrong) == 401);
    CHECK(with(wrong, true) == 401);
  }
  CHECK(status_of(options, {{"Host", "localhost"}}, peer(true, true)) == 0);
}

TEST_CASE("a wrong token is told from none, for the log") {
  const AdminOptions options = with_token();
  const auto is_wrong = [&](const std::string& value) {
    const Asked asked{{"Host", "10.0.0.5"}, {"Authorization", value}};
    return Admin(options).check_http(asked.exchange, peer(false)).is_wrong_token;
  };
  CHECK(is_wrong("Bearer something-else"));
  CHECK_FALSE(is_wrong("Basic abc"));
}

TEST_CASE("without a token HTTP is taken from where lines are") {
  AdminOptions options;
  CHECK(status_of(options, {{"Host", "10.0.0.5"}}, peer(false)) == 403);
  CHECK(status_of(options, {{"Host", "10.0.0.5"}}, peer(true)) == 0);
  options.from_anywhere = true;
  CHECK(status_of(options, {{"Host", "10.0.0.5"}}, peer(false)) == 0);
}
