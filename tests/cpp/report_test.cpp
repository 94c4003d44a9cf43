#include <doctest/doctest.h>

#include <string>

#include "modules/registry.h"

using hrmr::modules::Change;
using hrmr::modules::Outcome;
using hrmr::modules::ReloadReport;
using hrmr::modules::to_text;

namespace {

Outcome outcome(const std::string& name, Change change, uint64_t old_generation,
                uint64_t generation) {
  Outcome made;
  made.name = name;
  made.change = change;
  made.old_generation = old_generation;
  made.generation = generation;
  made.ms = 2.04;
  return made;
}

}  // namespace

TEST_CASE("tells each outcome on a line, and the sum") {
  ReloadReport report;
  report.outcomes = {
      outcome("http", Change::kLoaded, 0, 1), outcome("chat", Change::kReloaded, 1, 2),
      outcome("hello", Change::kUnchanged, 4, 4), outcome("x", Change::kRemoved, 2, 0)};
  report.ms = 5.31;
  CHECK(to_text(report) ==
        "loaded http generation 1 in 2.0 ms\n"
        "reloaded chat generation 1 -> 2 in 2.0 ms\n"
        "unchanged hello generation 4\n"
        "removed x generation 2 in 2.0 ms\n"
        "OK 1 loaded, 1 reloaded, 1 removed, 1 unchanged in 5.3 ms\n");
}

TEST_CASE("tells a failure first in the sum, on one line, and what serves on") {
  ReloadReport report;
  report.outcomes = {outcome("y", Change::kFailed, 3, 3), outcome("z", Change::kFailed, 0, 0),
                     outcome("a", Change::kLoaded, 0, 1)};
  report.outcomes[0].message = "line 1\nline 2\r\n";
  report.outcomes[1].message = "why";
  CHECK(to_text(report) ==
        "failed y: line 1 line 2 (generation 3 serves on) (2.0 ms)\n"
        "failed z: why (2.0 ms)\n"
        "loaded a generation 1 in 2.0 ms\n"
        "ERR 2 failed, 1 loaded in 0.0 ms\n");
}

TEST_CASE("tells that there is nothing to tell") {
  CHECK(to_text(ReloadReport()) == "OK no modules in 0.0 ms\n");
}
