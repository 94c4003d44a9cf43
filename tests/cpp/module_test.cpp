#include "modules/module.h"

#include <doctest/doctest.h>

#include <string>

using hrmr::modules::check_prefix;
using hrmr::modules::framing_of_prefix;
using hrmr::modules::Module;
using hrmr::modules::RouteFraming;

TEST_CASE("takes a prefix for http when it begins with a method") {
  for (const char* prefix : {"GET", "GET ", "GET /", "GET /api/users", "POST /call", "DELETE/x",
                             "OPTIONS *", "PATCH ", "CONNECT host:1"}) {
    CAPTURE(prefix);
    CHECK(framing_of_prefix(prefix) == RouteFraming::kHttp);
  }
}

TEST_CASE("takes a prefix for http when a token and a path follow each other") {
  for (const char* prefix : {"PURGE /cache", "M-SEARCH /", "GETTER /", "get /x"}) {
    CAPTURE(prefix);
    CHECK(framing_of_prefix(prefix) == RouteFraming::kHttp);
  }
}

TEST_CASE("takes every other prefix for a line") {
  for (const char* prefix :
       {"", "HELLO", "GETX", "GE", " /", "A  /", "A/ /", "HELLO world /", "get ", "\xff /"}) {
    CAPTURE(prefix);
    CHECK(framing_of_prefix(prefix) == RouteFraming::kLine);
  }
}

TEST_CASE("allows prefixes of 1 to 1024 bytes") {
  CHECK_FALSE(check_prefix("", RouteFraming::kLine).is_ok());
  CHECK(check_prefix("x", RouteFraming::kLine).is_ok());
  CHECK(check_prefix(std::string(1024, 'x'), RouteFraming::kRaw).is_ok());
  CHECK_FALSE(check_prefix(std::string(1025, 'x'), RouteFraming::kHttp).is_ok());
}

TEST_CASE("keeps the words of the server for the server") {
  CHECK(check_prefix("RELOAD", RouteFraming::kLine).message() ==
        "prefix 'RELOAD' belongs to HRMR itself");
  CHECK_FALSE(check_prefix("close", RouteFraming::kLine).is_ok());
  CHECK_FALSE(check_prefix("ShutDown", RouteFraming::kRaw).is_ok());
  CHECK(check_prefix("RELOADED", RouteFraming::kLine).is_ok());
  CHECK(check_prefix("RELOA", RouteFraming::kLine).is_ok());
  CHECK(check_prefix("CLOSE", RouteFraming::kHttp).is_ok());
}

TEST_CASE("is let go of when the last loop has retired it") {
  Module module("m", 1, 3);
  CHECK_FALSE(module.retire_on(0));
  CHECK_FALSE(module.retire_on(2));
  CHECK(module.retire_on(1));
}

TEST_CASE("is let go of by the last unpin after it was retired") {
  Module module("m", 1, 2);
  module.pin(0);
  module.pin(0);
  module.pin(1);
  CHECK_FALSE(module.unpin(0));
  CHECK_FALSE(module.retire_on(0));
  CHECK_FALSE(module.unpin(0));
  CHECK_FALSE(module.retire_on(1));
  CHECK(module.unpin(1));
}

TEST_CASE("is not let go of while nobody has retired it") {
  Module module("m", 1, 1);
  module.pin(0);
  CHECK_FALSE(module.unpin(0));
  module.pin(0);
  CHECK_FALSE(module.unpin(0));
  CHECK(module.retire_on(0));
}

TEST_CASE("has drained when all loops have let go of it and its last timer has ended") {
  Module module("m", 1, 1);
  module.timer_begins();
  CHECK_FALSE(module.timer_ends());
  module.timer_begins();
  module.timer_begins();
  CHECK(module.rest_on(0));
  CHECK_FALSE(module.end_timers());
  CHECK_FALSE(module.timer_ends());
  module.resume_on(0);
  CHECK_FALSE(module.timer_ends());
  module.timer_begins();
  module.arm(1);
  CHECK(module.retire_on(0));
  CHECK_FALSE(module.end_timers());
  CHECK(module.timer_ends());
}
