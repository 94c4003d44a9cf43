#include "modules/scan.h"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include "fake_loader.h"
#include "module_gallery.h"
#include "modules/registry.h"

using hrmr::Log;
using hrmr::modules::ModuleRegistry;
using hrmr::modules::RegistryOptions;
using hrmr::modules::ReloadReport;
using hrmr::test::contains;
using hrmr::test::FakeLoader;
using hrmr::test::FakeLoops;
using hrmr::test::message_of;
using hrmr::test::summary;
using hrmr::test::TempFolder;
using hrmr::test::write_file;
using Bench = hrmr::test::FakeModules;

TEST_CASE("refuses file names that are no names for modules") {
  Bench bench;
  bench.put("two words", "A");
  bench.put("dotted.name", "B");
  bench.put(std::string(64, 'x'), "C");
  bench.put(std::string(65, 'y'), "D");
  bench.put("_private", "E");
  bench.put(".hidden", "F");
  CHECK(bench.reload() == "dotted.name failed 0, two words failed 0, " + std::string(64, 'x') +
                              " loaded 1, " + std::string(65, 'y') + " failed 0");
  CHECK(contains(message_of(bench.report, "two words"), "rename the file"));
}

TEST_CASE("two files of one name in one place fail, the old generation stays") {
  TempFolder folder;
  FakeLoader fake;
  FakeLoader other(".other");
  FakeLoops loops;
  Log log;
  RegistryOptions options;
  options.places = {folder.path()};
  ModuleRegistry registry(options, {&fake, &other}, loops, log);
  write_file(folder / "a.fake", "A");
  CHECK(summary(registry.reload()) == "a loaded 1");
  write_file(folder / "a.other", "A2");
  const ReloadReport both = registry.reload();
  CHECK(summary(both) == "a failed 1");
  CHECK(contains(message_of(both, "a"), folder / "a.fake" + " and " + (folder / "a.other")));
  CHECK(loops.ask("A") == "A");
  std::filesystem::remove(folder / "a.fake");
  CHECK(summary(registry.reload()) == "a reloaded 2");
  CHECK(loops.ask("A2") == "A2");
  registry.unload_all();
}

TEST_CASE("a later place wins, and gives way again when its file goes") {
  TempFolder bundled;
  TempFolder own;
  FakeLoader fake;
  FakeLoops loops;
  Log log;
  RegistryOptions options;
  options.places = {bundled.path(), own.path() + "/", own / "deep/single.fake"};
  ModuleRegistry registry(options, {&fake}, loops, log);
  write_file(bundled / "a.fake", "BUNDLED");
  write_file(bundled / "single.fake", "S1");
  CHECK(summary(registry.reload()) == "a loaded 1, single loaded 1");
  CHECK(hrmr::test::take_log(log) == "");
  write_file(own / "a.fake", "OWN");
  std::filesystem::create_directory(own / "deep");
  write_file(own / "deep/single.fake", "S2");
  CHECK(summary(registry.reload()) == "a reloaded 2, single reloaded 2");
  CHECK(loops.ask("OWN") == "OWN");
  CHECK(loops.ask("S2") == "S2");
  std::filesystem::remove_all(own.path());
  CHECK(summary(registry.reload()) == "a reloaded 3, single reloaded 3");
  CHECK(loops.ask("BUNDLED") == "BUNDLED");
  registry.unload_all();
}

TEST_CASE("a folder that is not there is empty, without a word, until somebody makes it") {
  Log log;
  FakeLoader fake;
  FakeLoops loops;
  TempFolder folder;
  RegistryOptions options;
  options.places = {folder / "later"};
  ModuleRegistry registry(options, {&fake}, loops, log);
  CHECK(summary(registry.reload()) == "");
  CHECK(hrmr::test::take_log(log) == "");
  std::filesystem::create_directory(folder / "later");
  write_file(folder / "later/a.fake", "A");
  CHECK(summary(registry.reload()) == "a loaded 1");
  registry.unload_all();
}

TEST_CASE("follows links to files; a broken one fails, the old generation stays") {
  Bench bench;
  TempFolder elsewhere;
  write_file(elsewhere / "v1", "A");
  std::filesystem::create_symlink(elsewhere / "v1", bench.folder / "a.fake");
  std::filesystem::create_directory(bench.folder / "b.fake");
  CHECK(bench.reload() == "a loaded 1");
  std::filesystem::remove(elsewhere / "v1");
  CHECK(bench.reload() == "a failed 1");
  CHECK(contains(message_of(bench.report, "a"), "a.fake: No such file or directory"));
  CHECK(bench.loops.ask("A") == "A");
  std::filesystem::remove(bench.folder / "a.fake");
  CHECK(bench.reload() == "a removed 0");
}

TEST_CASE("a single file that nothing loads fails by name") {
  TempFolder folder;
  FakeLoader fake;
  FakeLoops loops;
  Log log;
  write_file(folder / "notes.txt", "A");
  RegistryOptions options;
  options.places = {folder / "notes.txt"};
  ModuleRegistry registry(options, {&fake}, loops, log);
  const ReloadReport report = registry.reload();
  CHECK(summary(report) == "notes.txt failed 0");
  CHECK(contains(message_of(report, "notes.txt"), "is not a module"));
}

TEST_CASE("modules in a folder that cannot be read stay as they are") {
  // A loop of links: stat fails with ELOOP, for every user.
  TempFolder parent;
  FakeLoader fake;
  FakeLoops loops;
  Log log;
  RegistryOptions options;
  options.places = {parent / "modules"};
  ModuleRegistry registry(options, {&fake}, loops, log);
  std::filesystem::create_directory(parent / "real");
  write_file(parent / "real/a.fake", "A");
  std::filesystem::create_directory_symlink(parent / "real", parent / "modules");
  CHECK(summary(registry.reload()) == "a loaded 1");
  std::filesystem::remove(parent / "modules");
  std::filesystem::create_directory_symlink(parent / "modules", parent / "modules");
  const ReloadReport report = registry.reload();
  CHECK(summary(report) == "a failed 1");
  CHECK(contains(message_of(report, "a"), "Too many levels of symbolic links"));
  CHECK(loops.ask("A") == "A");
  registry.unload_all();
}
