#include "net/address_table.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "net/socket.h"

using namespace hrmr::net;

namespace {

uint64_t network4(const char* host) {
  sockaddr_storage address{};
  auto& from = reinterpret_cast<sockaddr_in&>(address);
  from.sin_family = AF_INET;
  REQUIRE(::inet_pton(AF_INET, host, &from.sin_addr) == 1);
  return peer_of(address).network;
}

uint64_t network6(const char* host) {
  sockaddr_storage address{};
  auto& from = reinterpret_cast<sockaddr_in6&>(address);
  from.sin6_family = AF_INET6;
  REQUIRE(::inet_pton(AF_INET6, host, &from.sin6_addr) == 1);
  return peer_of(address).network;
}

}  // namespace

TEST_CASE("each address has as many connections as it may, and no more") {
  AddressTable table(2);
  CHECK(table.take_place(7));
  CHECK(table.take_place(7));
  CHECK_FALSE(table.take_place(7));
  CHECK(table.take_place(8));
  table.give_place(7);
  CHECK(table.take_place(7));
  CHECK_FALSE(table.take_place(7));
}

TEST_CASE("an address that is gone takes no memory") {
  AddressTable table(3);
  for (uint64_t network = 1; network <= 1000; ++network) CHECK(table.take_place(network));
  CHECK(table.addresses() == 1000);
  for (uint64_t network = 1; network <= 1000; ++network) table.give_place(network);
  CHECK(table.addresses() == 0);
}

TEST_CASE("without a bound, and for a peer without an address, nothing is counted") {
  AddressTable unbounded(0);
  for (int i = 0; i < 100; ++i) CHECK(unbounded.take_place(7));
  CHECK(unbounded.addresses() == 0);
  unbounded.give_place(7);
  AddressTable table(1);
  for (int i = 0; i < 100; ++i) CHECK(table.take_place(0));
  table.give_place(0);
  CHECK(table.addresses() == 0);
}

TEST_CASE("threads that take and give at once never exceed the bound and lose no place") {
  AddressTable table(3);
  std::atomic<int> open{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int turn = 0; turn < 2000; ++turn) {
        if (!table.take_place(9)) continue;
        const int now = ++open;
        int seen = most.load();
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        --open;
        table.give_place(9);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(most.load() <= 3);
  CHECK(table.addresses() == 0);
}

TEST_CASE("an IPv6 host is its /64, an IPv4 one its address however it is written") {
  CHECK(network6("2001:db8:1:2::1") == network6("2001:db8:1:2:ffff::9"));
  CHECK(network6("2001:db8:1:2::1") != network6("2001:db8:1:3::1"));
  CHECK(network4("10.1.2.3") != network4("10.1.2.4"));
  CHECK(network6("::ffff:10.1.2.3") == network4("10.1.2.3"));
  const std::set<uint64_t> all = {network6("::1"), network6("fe80::1"), network4("127.0.0.1"),
                                  network4("0.0.0.1"), network4("255.255.255.255")};
  CHECK(all.size() == 5);
  CHECK(all.count(0) == 0);
  sockaddr_storage neither{};
  neither.ss_family = AF_UNIX;
  CHECK(peer_of(neither).network == 0);
}
