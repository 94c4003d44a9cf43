#include <doctest/doctest.h>
#include <hrmr/abi.h>

#include <cstddef>

#include "module_gallery.h"

// What a compiled module has burnt in. A change here breaks every module there is: it needs a new
// HRMR_ABI_MAJOR. New fields at the end of a struct need a new HRMR_ABI_MINOR.
TEST_CASE("the structs of ABI 1.0 keep their layout") {
  static_assert(sizeof(void*) == 8);
  CHECK(HRMR_ABI_MAJOR == 1);
  CHECK(sizeof(hrmr_bytes) == 16);
  CHECK(offsetof(hrmr_route, prefix) == 8);
  CHECK(offsetof(hrmr_route, framing) == 24);
  CHECK(offsetof(hrmr_route, run) == 28);
  CHECK(offsetof(hrmr_route, function) == 32);
  CHECK(offsetof(hrmr_route, context) == 40);
  CHECK(offsetof(hrmr_module, abi) == 8);
  CHECK(offsetof(hrmr_module, name) == 16);
  CHECK(offsetof(hrmr_module, version) == 24);
  CHECK(offsetof(hrmr_module, load) == 32);
  CHECK(offsetof(hrmr_module, unload) == 40);
  CHECK(offsetof(hrmr_load, host) == 8);
  CHECK(offsetof(hrmr_load, context) == 16);
  CHECK(offsetof(hrmr_load, state) == 24);
  CHECK(offsetof(hrmr_request, bytes) == 16);
  CHECK(offsetof(hrmr_request, rest) == 32);
  CHECK(offsetof(hrmr_request, peer) == 48);
  CHECK(offsetof(hrmr_request, method) == 64);
  CHECK(offsetof(hrmr_request, body) == 128);
  CHECK(offsetof(hrmr_request, headers) == 144);
  CHECK(offsetof(hrmr_request, header_count) == 152);
  CHECK(offsetof(hrmr_host, add_route) == 24);
  CHECK(offsetof(hrmr_host, write) == 56);
  CHECK(offsetof(hrmr_host, extension) == 112);
}

TEST_CASE("the headers are C11 and C++17, without a warning") {
  CHECK_FALSE(hrmr::test::compiled("good.c", {"-Wextra", "-Wpedantic", "-std=c11"}).empty());
  CHECK_FALSE(
      hrmr::test::compiled("good_cpp.cpp", {"-Wextra", "-Wpedantic", "-std=c++17"}).empty());
}
