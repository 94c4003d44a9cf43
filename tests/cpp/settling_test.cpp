#include "modules/settling.h"

#include <doctest/doctest.h>

#include "base/limits.h"

using hrmr::modules::Settling;
using Names = std::vector<std::string>;
namespace limits = hrmr::limits;

TEST_CASE("a saved module is settled after a short quiet, once") {
  Settling settling;
  settling.on_saved("a", "/m/a.so", 1000);
  CHECK_FALSE(settling.is_idle());
  CHECK(settling.take_settled(1000 + limits::kSavedQuietMs - 1).empty());
  CHECK(settling.take_settled(1000 + limits::kSavedQuietMs) == Names{"a"});
  CHECK(settling.is_idle());
  CHECK(settling.take_settled(99999).empty());
}

TEST_CASE("each save begins the quiet anew") {
  Settling settling;
  settling.on_saved("a", "/m/a.so", 1000);
  settling.on_saved("a", "/m/a.so", 1020);
  CHECK(settling.take_settled(1000 + limits::kSavedQuietMs).empty());
  CHECK(settling.take_settled(1020 + limits::kSavedQuietMs) == Names{"a"});
}

TEST_CASE("a file that is being written holds its module and no other") {
  Settling settling;
  settling.on_written("a", "/m/a.so", 1000);
  settling.on_saved("b", "/m/b.so", 1000);
  settling.on_written("a", "/m/a.so", 2500);
  CHECK(settling.take_settled(2000) == Names{"b"});
  CHECK(settling.take_settled(2500 + limits::kWriterSilenceMs - 1).empty());
  settling.on_saved("a", "/m/a.so", 4400);
  CHECK(settling.take_settled(4400 + limits::kSavedQuietMs) == Names{"a"});
}

TEST_CASE("a writer that never closes holds its module for as long as it is not silent") {
  Settling settling;
  settling.on_written("a", "/m/a.so", 1000);
  CHECK(settling.take_settled(1000 + limits::kWriterSilenceMs - 1).empty());
  CHECK(settling.take_settled(1000 + limits::kWriterSilenceMs) == Names{"a"});
}

TEST_CASE("one file of a package that is being written holds the whole of it") {
  Settling settling;
  settling.on_written("a", "/m/a/b.py", 1000);
  settling.on_saved("a", "/m/a/__init__.py", 1001);
  CHECK(settling.take_settled(1100).empty());
  settling.on_saved("a", "/m/a/b.py", 1200);
  CHECK(settling.take_settled(1200 + limits::kSavedQuietMs) == Names{"a"});
}

TEST_CASE("a module whose file went away waits longer, but not once the file is back") {
  Settling settling;
  settling.on_gone("a", "/m/a.so", 1000);
  CHECK(settling.take_settled(1000 + limits::kAbsentQuietMs - 1).empty());
  CHECK(settling.take_settled(1000 + limits::kAbsentQuietMs) == Names{"a"});
  settling.on_gone("a", "/m/a.so", 2000);
  settling.on_saved("a", "/m/a.so", 2010);
  CHECK(settling.take_settled(2010 + limits::kSavedQuietMs) == Names{"a"});
}

TEST_CASE("a change that a listing found rests as long as an absence, until a notice tells") {
  Settling settling;
  settling.on_found("a", "/m/a.so", 1000);
  CHECK(settling.take_settled(1000 + limits::kAbsentQuietMs - 1).empty());
  settling.on_found("a", "/m/a.so", 1250);
  CHECK(settling.take_settled(1000 + limits::kAbsentQuietMs).empty());
  CHECK(settling.take_settled(1250 + limits::kAbsentQuietMs) == Names{"a"});
}
