#include "modules/route_table.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

using hrmr::modules::Route;
using hrmr::modules::RouteFraming;
using hrmr::modules::RouteMark;
using hrmr::modules::RouteMatch;
using hrmr::modules::RouteTable;

namespace {

class Routes {
 public:
  void add(const std::string& prefix, RouteFraming framing = RouteFraming::kLine,
           RouteMark mark = RouteMark::kNone) {
    routes_.push_back(std::make_unique<Route>());
    routes_.back()->prefix = prefix;
    routes_.back()->framing = framing;
    entries_.push_back({routes_.back().get(), mark});
  }
  std::shared_ptr<const RouteTable> build() const { return RouteTable::build(entries_); }
  const std::vector<std::unique_ptr<Route>>& all() const { return routes_; }

 private:
  std::vector<std::unique_ptr<Route>> routes_;
  std::vector<RouteTable::Entry> entries_;
};

std::string matched(const RouteTable& table, const std::string& bytes,
                    RouteFraming framing = RouteFraming::kLine) {
  const RouteMatch match = table.match(framing, bytes);
  return match.route == nullptr ? "none" : match.route->prefix;
}

// The answer that a table must give, found the slow way.
std::string longest_prefix(const Routes& routes, const std::string& bytes) {
  const std::string* longest = nullptr;
  for (const auto& route : routes.all()) {
    if (bytes.compare(0, route->prefix.size(), route->prefix) != 0) continue;
    if (longest == nullptr || route->prefix.size() > longest->size()) longest = &route->prefix;
  }
  return longest == nullptr ? "none" : *longest;
}

}  // namespace

TEST_CASE("matches nothing in an empty table") {
  const auto table = RouteTable::build({});
  CHECK(table->size() == 0);
  CHECK_FALSE(table->has(RouteFraming::kLine));
  CHECK(matched(*table, "HELLO") == "none");
  CHECK(matched(*table, "") == "none");
}

TEST_CASE("the longest registered prefix wins") {
  Routes routes;
  for (const char* prefix : {"GET", "GET /api/", "GET /api/users", "GET /apt", "H"}) {
    routes.add(prefix);
  }
  const auto table = routes.build();
  CHECK(matched(*table, "GET /api/users/1") == "GET /api/users");
  CHECK(matched(*table, "GET /api/users") == "GET /api/users");
  CHECK(matched(*table, "GET /api/user") == "GET /api/");
  CHECK(matched(*table, "GET /api") == "GET");
  CHECK(matched(*table, "GET /aptitude") == "GET /apt");
  CHECK(matched(*table, "GET") == "GET");
  CHECK(matched(*table, "GE") == "none");
  CHECK(matched(*table, "HELLO") == "H");
  CHECK(matched(*table, "X") == "none");
  CHECK(matched(*table, "") == "none");
}

TEST_CASE("bytes that begin with no prefix match none, also after a common start") {
  Routes routes;
  routes.add("abcdef");
  routes.add("abcxyz");
  const auto table = routes.build();
  CHECK(matched(*table, "abc") == "none");
  CHECK(matched(*table, "abcde") == "none");
  CHECK(matched(*table, "abcdeX") == "none");
  CHECK(matched(*table, "abcdefg") == "abcdef");
  CHECK(matched(*table, "abcxyz") == "abcxyz");
}

TEST_CASE("all byte values are equal before the table") {
  Routes routes;
  for (int byte = 0; byte < 256; ++byte) {
    routes.add(std::string(1, static_cast<char>(byte)));
    routes.add(std::string("\0\xff", 2) + static_cast<char>(byte) + "tail");
  }
  const auto table = routes.build();
  CHECK(table->size() == 512);
  for (int byte = 0; byte < 256; ++byte) {
    const std::string one(1, static_cast<char>(byte));
    CHECK(matched(*table, one + "\x01more") == one);
    const std::string deep = std::string("\0\xff", 2) + one + "tail";
    CHECK(matched(*table, deep + "\xfe") == deep);
  }
}

TEST_CASE("routes of one framing are not seen by another") {
  Routes routes;
  routes.add("PING", RouteFraming::kLine);
  routes.add("PING", RouteFraming::kHttp);
  routes.add("\x01\x02", RouteFraming::kRaw);
  const auto table = routes.build();
  CHECK(table->has(RouteFraming::kRaw));
  CHECK(matched(*table, "\x01\x02\x03", RouteFraming::kRaw) == "\x01\x02");
  CHECK(matched(*table, "PING", RouteFraming::kRaw) == "none");
  CHECK(matched(*table, "\x01\x02\x03", RouteFraming::kLine) == "none");
  CHECK(table->match(RouteFraming::kLine, "PING").route == routes.all()[0].get());
  CHECK(table->match(RouteFraming::kHttp, "PING").route == routes.all()[1].get());
}

TEST_CASE("says of a route that it is being reloaded") {
  Routes routes;
  routes.add("A", RouteFraming::kLine, RouteMark::kReject);
  routes.add("AB", RouteFraming::kLine);
  const auto table = routes.build();
  CHECK(table->match(RouteFraming::kLine, "A").mark == RouteMark::kReject);
  CHECK(table->match(RouteFraming::kLine, "AB").mark == RouteMark::kNone);
}

TEST_CASE("agrees with a search of all prefixes on random routes and bytes") {
  std::mt19937 random(20240229);
  const auto text = [&](size_t bytes_max) {
    std::string made(random() % (bytes_max + 1), ' ');
    for (char& c : made) c = static_cast<char>('a' + random() % 3);
    return made;
  };
  for (int round = 0; round < 50; ++round) {
    Routes routes;
    std::vector<std::string> used;
    for (int i = 0; i < 60; ++i) {
      const std::string prefix = text(8);
      if (prefix.empty() || std::find(used.begin(), used.end(), prefix) != used.end()) continue;
      used.push_back(prefix);
      routes.add(prefix);
    }
    const auto table = routes.build();
    for (int i = 0; i < 200; ++i) {
      const std::string bytes = text(12);
      REQUIRE(matched(*table, bytes) == longest_prefix(routes, bytes));
    }
  }
}

TEST_CASE("holds a hundred thousand routes") {
  Routes routes;
  for (int i = 0; i < 100000; ++i) routes.add("GET /users/" + std::to_string(i) + "/");
  const auto table = routes.build();
  REQUIRE(table->size() == 100000);
  for (int i = 0; i < 100000; i += 37) {
    const std::string prefix = "GET /users/" + std::to_string(i) + "/";
    REQUIRE(matched(*table, prefix + "name") == prefix);
  }
  CHECK(matched(*table, "GET /users/100000/") == "none");
}

TEST_CASE("a prefix of the greatest length matches whole or not at all") {
  Routes routes;
  const std::string longest(1024, 'p');
  routes.add(longest);
  const auto table = routes.build();
  CHECK(matched(*table, longest) == longest);
  CHECK(matched(*table, longest + "p") == longest);
  CHECK(matched(*table, longest.substr(1)) == "none");
}
