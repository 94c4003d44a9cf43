// ModuleRegistry with real shared libraries: what FakeLoader cannot show.
#include <doctest/doctest.h>
#include <link.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "module_gallery.h"
#include "modules/native_loader.h"
#include "modules/registry.h"

using hrmr::Log;
using hrmr::modules::Module;
using hrmr::modules::ModuleRegistry;
using hrmr::modules::NativeLoader;
using hrmr::modules::RegistryOptions;
using hrmr::modules::Route;
using hrmr::test::call;
using hrmr::test::compiled;
using hrmr::test::contains;
using hrmr::test::FakeLoops;
using hrmr::test::good_module;
using hrmr::test::message_of;
using hrmr::test::summary;

namespace {

class NativeBench {
 public:
  NativeBench() : registry(options(), {&loader}, loops, log) {}
  ~NativeBench() { registry.unload_all(); }

  // In place: the inode stays the same.
  void put(const std::string& name, const std::string& content) {
    hrmr::test::write_file(path(name), content);
  }
  std::string path(const std::string& name) const { return folder / (name + ".so"); }
  std::string reload() { return summary(report = registry.reload()); }
  void unload_drained() {
    for (Module* module : loops.drained) registry.unload_drained(module);
    loops.drained.clear();
  }

  hrmr::test::TempFolder folder;
  Log log;
  NativeLoader loader{hrmr::test::test_host(), log};
  FakeLoops loops;
  hrmr::modules::ReloadReport report;
  ModuleRegistry registry;

 private:
  RegistryOptions options() const {
    RegistryOptions made;
    made.places = {folder.path()};
    made.configs["good_cpp"]["greeting"] = "from hrmr.toml:";
    return made;
  }
};

std::vector<std::string> private_libraries() {
  std::vector<std::string> names;
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* raw) {
        const std::string name = info->dlpi_name;
        if (contains(name, "/hrmr-")) static_cast<std::vector<std::string>*>(raw)->push_back(name);
        return 0;
      },
      &names);
  return names;
}

size_t map_lines() {
  std::ifstream maps("/proc/self/maps");
  size_t lines = 0;
  for (std::string line; std::getline(maps, line);) {
    if (contains(line, ".so")) ++lines;
  }
  return lines;
}

}  // namespace

TEST_CASE("delete, reload, restore, reload, a hundred times, leaves nothing behind") {
  NativeBench bench;
  const size_t libraries = private_libraries().size();
  size_t maps = 0;
  for (int round = 1; round <= 100; ++round) {
    const std::string version = round % 2 == 0 ? "even" : "odd";
    bench.put("good", good_module("good", version, "GOOD"));
    REQUIRE(bench.reload() == "good loaded " + std::to_string(round));
    REQUIRE(bench.loops.ask("GOOD") == version);
    std::filesystem::remove(bench.path("good"));
    REQUIRE(bench.reload() == "good removed 0");
    REQUIRE(bench.loops.ask("GOOD") == "none");
    bench.unload_drained();
    REQUIRE(private_libraries().size() == libraries);
    if (round == 1) maps = map_lines();
  }
  CHECK(map_lines() == maps);
}

TEST_CASE("a pinned generation answers with its code while its file is overwritten in place") {
  NativeBench bench;
  bench.put("good", good_module("good", "1", "GOOD"));
  REQUIRE(bench.reload() == "good loaded 1");
  const Route* const old_route = bench.loops.match("GOOD").route;
  Module* const old_module = old_route->module;
  old_module->pin(0);
  bench.put("good", good_module("good", "2", "GOOD"));
  CHECK(call(*old_route, "GOOD") == "1");
  REQUIRE(bench.reload() == "good reloaded 2");
  CHECK(bench.loops.ask("GOOD") == "2");
  CHECK(call(*old_route, "GOOD") == "1");
  CHECK(bench.loops.drained.empty());
  REQUIRE(old_module->unpin(0));
  hrmr::test::take_log(bench.log);
  bench.registry.unload_drained(old_module);
  CHECK(hrmr::test::take_log(bench.log) ==
        "module.good: unload 1\nreload: unloaded good generation 1\n");
  CHECK(bench.loops.ask("GOOD") == "2");
}

TEST_CASE("a build that broke changes nothing, whatever is wrong with the file") {
  NativeBench bench;
  const std::string& whole = good_module("good", "1", "GOOD");
  bench.put("good", whole);
  REQUIRE(bench.reload() == "good loaded 1");
  const std::vector<std::pair<std::string, std::string>> broken = {
      {whole.substr(0, whole.size() - 1), "is incomplete ("},
      {whole.substr(0, 100), "is incomplete (100 bytes"},
      {"", "is empty"},
      {"int main;", "is not an ELF file"},
      {compiled("no_entry.c"), "is not an HRMR module"},
      {compiled("missing_symbol.c"), "undefined symbol"},
      {good_module("other", "2", "GOOD"), "calls itself 'other'"},
  };
  for (const auto& [content, says] : broken) {
    bench.put("good", content);
    REQUIRE(bench.reload() == "good failed 1");
    CHECK(contains(message_of(bench.report, "good"), says));
    CHECK(contains(message_of(bench.report, "good"), bench.path("good")));
    CHECK(bench.loops.ask("GOOD") == "1");
  }
  bench.put("good", good_module("good", "3", "GOOD"));
  CHECK(bench.reload() == "good reloaded 2");
  CHECK(bench.loops.ask("GOOD") == "3");
}

TEST_CASE("two compiled modules swap their prefixes, then want the same one") {
  NativeBench bench;
  bench.put("a", good_module("a", "a1", "ONE"));
  bench.put("b", good_module("b", "b1", "TWO"));
  REQUIRE(bench.reload() == "a loaded 1, b loaded 1");
  bench.put("a", good_module("a", "a2", "TWO"));
  bench.put("b", good_module("b", "b2", "ONE"));
  REQUIRE(bench.reload() == "a reloaded 2, b reloaded 2");
  CHECK(bench.loops.ask("ONE") == "b2");
  bench.put("a", good_module("a", "a3", "ONE"));
  hrmr::test::take_log(bench.log);
  REQUIRE(bench.reload() == "a failed 2, b unchanged 2");
  CHECK(message_of(bench.report, "a") ==
        "prefix 'ONE' of module a is already registered by module b generation 2");
  CHECK(contains(hrmr::test::take_log(bench.log), "module.a: unload a3"));
  CHECK(bench.loops.ask("TWO") == "a2");
}

TEST_CASE("hands each module its own configuration") {
  NativeBench bench;
  bench.put("good_cpp", compiled("good_cpp.cpp", {"-fno-gnu-unique"}));
  REQUIRE(bench.reload() == "good_cpp loaded 1");
  CHECK(bench.loops.ask("GREET you") == "from hrmr.toml: you");
}
