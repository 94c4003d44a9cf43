#include "modules/native_loader.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <link.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "module_gallery.h"

using hrmr::Log;
using hrmr::Result;
using hrmr::modules::Image;
using hrmr::modules::LoadArguments;
using hrmr::modules::ModuleConfig;
using hrmr::modules::NativeLoader;
using hrmr::modules::OpenRequest;
using hrmr::modules::Registrations;
using hrmr::modules::Route;
using hrmr::modules::RouteFraming;
using hrmr::modules::Run;
using hrmr::modules::SavedState;
using hrmr::test::call;
using hrmr::test::compiled;
using hrmr::test::contains;
using hrmr::test::good_module;

namespace {

struct LoadedModule : Registrations {
  std::unique_ptr<Image> image;
};

// One loader, a folder for users' files and one for private copies.
class Bench {
 public:
  std::string put(const std::string& name, const std::string& content) {
    const std::string path = files_ / (name + ".so");
    hrmr::test::write_file(path, content);
    return path;
  }
  OpenRequest request(const std::string& name) {
    OpenRequest request;
    request.name = name;
    request.path = files_ / (name + ".so");
    request.generation = ++generation_;
    request.private_path = private_ / (name + ".g" + std::to_string(generation_) + ".so");
    return request;
  }
  Result<LoadedModule> load(const std::string& name, const SavedState* previous = nullptr) {
    Result<std::unique_ptr<Image>> opened = loader.open(request(name));
    if (!opened.is_ok()) return opened.status();
    LoadedModule loaded;
    loaded.image = opened.take();
    Result<Registrations> registered = loaded.image->load({&config, previous});
    if (!registered.is_ok()) {
      CHECK(loaded.image->close().is_ok());
      return registered.status();
    }
    static_cast<Registrations&>(loaded) = registered.take();
    return loaded;
  }
  Result<LoadedModule> load(const std::string& name, const std::string& content,
                            const SavedState* previous = nullptr) {
    put(name, content);
    return load(name, previous);
  }
  // The error of a load that must fail and leave nothing behind.
  std::string refusal(const std::string& name, const std::string& content) {
    const Result<LoadedModule> loaded = load(name, content);
    REQUIRE_FALSE(loaded.is_ok());
    CHECK(private_files() == 0);
    CHECK_FALSE(contains(loaded.message(), private_.path()));
    return loaded.message();
  }
  size_t private_files() const {
    size_t files = 0;
    for (auto at = std::filesystem::directory_iterator(private_.path()); at != end(at); ++at) {
      ++files;
    }
    return files;
  }
  std::string private_folder() const { return private_.path(); }

  Log log;
  NativeLoader loader{hrmr::test::test_host(), log};
  ModuleConfig config;

 private:
  hrmr::test::TempFolder files_;
  hrmr::test::TempFolder private_;
  uint64_t generation_ = 0;
};

void close(LoadedModule& module) {
  module.image->unload();
  const hrmr::Status closed = module.image->close();
  CHECK_MESSAGE(closed.is_ok(), closed.message());
}

size_t mapped_libraries(const std::string& folder) {
  struct Search {
    const std::string& folder;
    size_t found;
  } search = {folder, 0};
  ::dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* raw) {
        auto& counted = *static_cast<Search*>(raw);
        counted.found += contains(info->dlpi_name, counted.folder) ? 1 : 0;
        return 0;
      },
      &search);
  return search.found;
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

TEST_CASE("loads a module, calls it, unloads it without a trace") {
  Bench bench;
  auto loaded = bench.load("good", good_module("good", "7", "GOOD", "GET /good"));
  REQUIRE_MESSAGE(loaded.is_ok(), loaded.message());
  LoadedModule module = loaded.take();
  CHECK(module.version == "7");
  REQUIRE(module.routes.size() == 2);
  CHECK(module.routes[0]->prefix == "GOOD");
  CHECK(module.routes[0]->framing == RouteFraming::kLine);
  CHECK(module.routes[0]->run == Run::kInline);
  CHECK(module.routes[1]->framing == RouteFraming::kHttp);
  CHECK(module.routes[1]->run == Run::kPool);
  CHECK(call(*module.routes[0], "GOOD") == "7");
  CHECK(mapped_libraries(bench.private_folder()) == 1);
  close(module);
  CHECK(hrmr::test::take_log(bench.log) == "module.good: unload 7\n");
  CHECK(mapped_libraries(bench.private_folder()) == 0);
  CHECK(bench.private_files() == 0);
}

TEST_CASE("loads a C++ module with its configuration, deletes its state at the unload") {
  Bench bench;
  bench.config["greeting"] = "good day";
  auto loaded = bench.load("good_cpp", compiled("good_cpp.cpp", {"-fno-gnu-unique"}));
  REQUIRE_MESSAGE(loaded.is_ok(), loaded.message());
  LoadedModule module = loaded.take();
  REQUIRE(module.routes.size() == 2);
  CHECK(call(*module.routes[0], "GREET you") == "good day you");
  CHECK(call(*module.routes[1], "GET /plain") == "plain");
  close(module);
  CHECK(hrmr::test::take_log(bench.log) == "module.good_cpp: greeting deleted\n");
}

TEST_CASE("a key of the configuration that the module does not know refuses the load") {
  Bench bench;
  const std::string built = compiled("config_keys.cpp", {"-fno-gnu-unique"});
  bench.config = {{"title", "a"}, {"db.path", "b"}};
  auto loaded = bench.load("config_keys", built);
  REQUIRE_MESSAGE(loaded.is_ok(), loaded.message());
  close(loaded.value());
  bench.config["db.paht"] = "c";
  CHECK(bench.load("config_keys", built).message() ==
        "[modules.config_keys] db.paht: no such key; the keys are title, db.path");
  bench.config["Title"] = "d";
  CHECK(bench.load("config_keys", built).message() ==
        "[modules.config_keys] Title, db.paht: no such key; the keys are title, db.path");
  bench.config = {{"", "e"}};
  CHECK(bench.load("config_keys", built).message() ==
        "[modules.config_keys] \"\": no such key; the keys are title, db.path");
}

TEST_CASE("two generations of one path each answer with their own code") {
  Bench bench;
  LoadedModule first = bench.load("good", good_module("good", "1", "GOOD")).take();
  // In place, into the inode that the first one was read from.
  LoadedModule second = bench.load("good", good_module("good", "2", "GOOD")).take();
  CHECK(call(*first.routes[0], "GOOD") == "1");
  CHECK(call(*second.routes[0], "GOOD") == "2");
  close(first);
  CHECK(call(*second.routes[0], "GOOD") == "2");
  close(second);
}

TEST_CASE("each generation calls its own exported functions") {
  Bench bench;
  const std::string name = "same_symbol";
  LoadedModule first = bench.load(name, compiled("same_symbol.c", {"-DVERSION=\"1\""})).take();
  LoadedModule second = bench.load(name, compiled("same_symbol.c", {"-DVERSION=\"2\""})).take();
  CHECK(call(*first.routes[0], "SYMBOL") == "1");
  CHECK(call(*second.routes[0], "SYMBOL") == "2");
  close(first);
  close(second);
}

TEST_CASE("calls the process's function where a module has one of the same name") {
  Bench bench;
  LoadedModule module = bench.load("interposed_symbol", compiled("interposed_symbol.c")).take();
  CHECK(call(*module.routes[0], "SIZE") == "process's");
  close(module);
}

TEST_CASE("new code never comes from a file that an older generation still maps") {
  // Until the process ends: generations that nothing unmaps, so that their files must stay.
  static Bench bench;
  const std::string nodelete = "-Wl,-z,nodelete";
  for (int round = 0; round < 10; ++round) {
    const std::string version = std::to_string(round);
    const std::string macro = "-DVERSION=\"" + version + "\"";
    auto loaded = bench.load("good", compiled("good.c", {macro, nodelete}));
    REQUIRE_MESSAGE(loaded.is_ok(), loaded.message());
    CHECK(call(*loaded.value().routes[0], "GOOD") == version);
    CHECK(mapped_libraries(bench.private_folder()) == static_cast<size_t>(round) + 1);
    CHECK_FALSE(loaded.value().image->close().is_ok());
  }
  CHECK(bench.private_files() == 10);
}

TEST_CASE("warns of a module that brings its own SQLite, and of no other") {
  Bench bench;
  auto own = bench.load("own_sqlite", compiled("own_sqlite.c"));
  REQUIRE_MESSAGE(own.is_ok(), own.message());
  CHECK(
      contains(hrmr::test::take_log(bench.log), "own_sqlite.so contains its own copy of SQLite: "));
  close(own.value());
  auto shared =
      bench.load("shared_sqlite", compiled("shared_sqlite.c", {"-Wl,--no-as-needed", "-lsqlite3"}));
  REQUIRE_MESSAGE(shared.is_ok(), shared.message());
  CHECK(hrmr::test::take_log(bench.log) == "");
  close(shared.value());
}

TEST_CASE("runs on while the user's file is emptied and removed") {
  Bench bench;
  LoadedModule module = bench.load("good", good_module("good", "1", "GOOD")).take();
  const std::string path = bench.put("good", "");
  CHECK(call(*module.routes[0], "GOOD") == "1");
  std::filesystem::remove(path);
  CHECK(call(*module.routes[0], "GOOD") == "1");
  close(module);
}

TEST_CASE("knows a file whose bytes are those that were loaded") {
  Bench bench;
  const std::string& content = good_module("good", "1", "GOOD");
  LoadedModule module = bench.load("good", content).take();
  const std::string path = bench.put("good", content);
  CHECK(bench.loader.is_same_content(path, *module.image));
  std::string other = content;
  other.back() = static_cast<char>(other.back() + 1);
  bench.put("good", other);
  CHECK_FALSE(bench.loader.is_same_content(path, *module.image));
  bench.put("good", content + "x");
  CHECK_FALSE(bench.loader.is_same_content(path, *module.image));
  std::filesystem::remove(path);
  CHECK_FALSE(bench.loader.is_same_content(path, *module.image));
  close(module);
}

TEST_CASE("refuses what is no module, in words that say why") {
  struct Case {
    const char* name;
    std::vector<std::string> flags;
    std::vector<std::string> says;
  };
  const std::vector<Case> cases = {
      {"no_entry.c", {}, {"no_entry.so is not an HRMR module", "HRMR_MODULE"}},
      {"missing_symbol.c", {}, {"missing_symbol.so: undefined symbol: nobody_defines_this"}},
      {"wrong_abi_major.c", {}, {"for HRMR ABI 2.0, this host speaks 1.2", "hrmr build"}},
      {"newer_minor.c", {}, {"for HRMR ABI 1.3, this host speaks 1.2", "hrmr build"}},
      {"no_size.c", {}, {"does not set `size`"}},
      {"small_size.c", {}, {"has 16 bytes, ABI 1.2 has at least 48"}},
      {"wrong_name.c", {}, {"calls itself 'somebody_else', its file calls it 'wrong_name'"}},
      {"no_load.c", {}, {"no load function"}},
      {"load_fails.c", {}, {"the database is not there"}},
      {"load_fails_silently.c", {}, {"load returned 7"}},
      {"load_throws.cpp", {}, {"load threw a C++ exception: thrown by load"}},
      {"load_throws_in_sdk.cpp", {"-fno-gnu-unique"}, {"no such table: users"}},
      {"empty_prefix.c", {}, {"a prefix must not be empty"}},
      {"built_in_prefix.c", {}, {"prefix 'Reload' belongs to HRMR itself"}},
      {"duplicate_prefix.c", {}, {"prefix 'TWICE' is registered twice"}},
      {"no_function.c", {}, {"prefix 'NOTHING' has no function"}},
      {"bad_framing.c", {}, {"framing 99 is unknown"}},
      {"bad_run.c", {}, {"run 99 is unknown"}},
      {"no_route_size.c", {}, {"`size` is not set"}},
      {"long_prefix.c", {}, {"a prefix of 1025 bytes, more than the 1024 allowed"}},
      {"bad_command.c", {"-DFAULT=1"}, {"command 'PING' belongs to HRMR itself"}},
      {"bad_command.c", {"-DFAULT=2"}, {"'NO NAME' is no name of a command"}},
      {"bad_command.c", {"-DFAULT=3"}, {"command 'FIRST.ONE' is registered twice by this module"}},
      {"bad_command.c", {"-DFAULT=4"}, {"command 'SECOND.ONE' has no function"}},
      {"bad_command.c", {"-DFAULT=5"}, {"command 'SECOND.ONE': run 99 is unknown"}},
      {"bad_command.c", {"-DFAULT=6"}, {"command 'SECOND.ONE': arguments_min is above"}},
      {"bad_command.c", {"-DFAULT=7"}, {"add_command: the command's `size` is not set"}},
      {"static_tls.c", {}, {"static_tls.so uses static (initial-exec)"}},
  };
  for (const Case& each : cases) {
    CAPTURE(each.name);
    Bench bench;
    const std::string name = std::filesystem::path(each.name).stem();
    const std::string refusal = bench.refusal(name, compiled(each.name, each.flags));
    CAPTURE(refusal);
    for (const std::string& part : each.says) CHECK(contains(refusal, part));
    CHECK(mapped_libraries(bench.private_folder()) == 0);
  }
}

TEST_CASE("refuses files that are not libraries") {
  Bench bench;
  CHECK(contains(bench.refusal("text", "#!/bin/sh\n"), "text.so is not an ELF file"));
  const std::string& whole = good_module("good", "1", "GOOD");
  CHECK(contains(bench.refusal("good", whole.substr(0, whole.size() / 2)), "is incomplete ("));
  CHECK(contains(bench.load("absent").message(), "absent.so: No such file or directory"));
}

TEST_CASE("accepts the longest prefix, and routes of a later ABI") {
  Bench bench;
  auto longest = bench.load("long_prefix", compiled("long_prefix.c", {"-DPREFIX_BYTES=1024"}));
  REQUIRE_MESSAGE(longest.is_ok(), longest.message());
  CHECK(longest.value().routes[0]->prefix.size() == 1024);
  close(longest.value());
  auto newer = bench.load("newer_route", compiled("newer_route.c"));
  REQUIRE_MESSAGE(newer.is_ok(), newer.message());
  CHECK(newer.value().routes[0]->prefix == "NEWER");
  close(newer.value());
}

TEST_CASE("runs the unload of a module that thought itself loaded, and only of such") {
  Bench bench;
  // Its load returns what add_route returned: it knows that it is refused.
  bench.refusal("good", good_module("good", "1", "RELOAD"));
  CHECK(hrmr::test::take_log(bench.log) == "");
  bench.refusal("good", compiled("good.c", {"-DPREFIX=\"RELOAD\"", "-DIGNORE_RESULT"}));
  CHECK(hrmr::test::take_log(bench.log) == "module.good: unload 1\n");
}

TEST_CASE("an exception in a handler or in unload ends nothing") {
  Bench bench;
  auto handler =
      bench.load("throws_in_handler", compiled("throws_in_handler.cpp", {"-fno-gnu-unique"}));
  REQUIRE_MESSAGE(handler.is_ok(), handler.message());
  CHECK(call(*handler.value().routes[0], "THROW") == "500 thrown by a handler");
  close(handler.value());
  auto unload = bench.load("unload_throws", compiled("unload_throws.cpp"));
  REQUIRE_MESSAGE(unload.is_ok(), unload.message());
  hrmr::test::take_log(bench.log);
  close(unload.value());
  CHECK(contains(hrmr::test::take_log(bench.log), "unload threw a C++ exception"));
}

TEST_CASE("says why a module stays mapped, and keeps its copy") {
  struct Case {
    const char* name;
    std::vector<std::string> flags;
    const char* says;
  };
  const std::vector<Case> cases = {
      {"gnu_unique.cpp", {"-fgnu-unique"}, "GNU-unique symbols, such as "},
      {"no_delete.c", {"-Wl,-z,nodelete"}, "-z nodelete"},
      {"thread_local_destructor.cpp", {}, "thread_local with a destructor"},
  };
  // Until the process ends: the copies stay mapped.
  static Bench bench;
  size_t kept = 0;
  for (const Case& each : cases) {
    CAPTURE(each.name);
    const std::string name = std::filesystem::path(each.name).stem();
    auto loaded = bench.load(name, compiled(each.name, each.flags));
    REQUIRE_MESSAGE(loaded.is_ok(), loaded.message());
    CHECK(contains(hrmr::test::take_log(bench.log), each.says));
    loaded.value().image->unload();
    const hrmr::Status closed = loaded.value().image->close();
    REQUIRE_FALSE(closed.is_ok());
    CHECK(contains(closed.message(), "still mapped after dlclose: "));
    CHECK(contains(closed.message(), each.says));
    CHECK(contains(closed.message(), "(" + std::to_string(++kept) + " kept so far)"));
    CHECK(bench.private_files() == kept);
  }
}

TEST_CASE("hands a state from one generation to the next, or says why not") {
  Bench bench;
  const std::vector<std::string> flags = {"-fno-gnu-unique"};
  LoadedModule first = bench.load("state", compiled("state.cpp", flags)).take();
  CHECK(call(*first.routes[0], "STATE") == "generation 1");
  REQUIRE(first.image->saves_state());
  // It may be asked twice: the first time the new generation may have refused it.
  CHECK(first.image->save_state().is_ok());
  SavedState saved = first.image->save_state().take();
  CHECK(saved.schema == 1);
  CHECK(saved.bytes == "generation 1+");
  LoadedModule second = bench.load("state", compiled("state.cpp", flags), &saved).take();
  CHECK(call(*second.routes[0], "STATE") == "generation 1+");
  saved.schema = 7;
  CHECK(bench.load("state", &saved).message() == "schema 7 is unknown");
  // Nothing at all is a state too.
  const SavedState empty{1, ""};
  LoadedModule third = bench.load("state", &empty).take();
  CHECK(call(*third.routes[0], "STATE") == "");
  close(first);
  close(second);
  close(third);
  LoadedModule failing =
      bench.load("state", compiled("state.cpp", {"-fno-gnu-unique", "-DSAVE_THROWS"})).take();
  CHECK(failing.image->save_state().message() ==
        "its state could not be saved: nothing to write to");
  close(failing);
  LoadedModule without = bench.load("good", good_module("good", "1", "GOOD")).take();
  CHECK_FALSE(without.image->saves_state());
  close(without);
}

TEST_CASE("refuses what would stay for ever once too much has, and nothing else") {
  static Bench bench;  // until the process ends: the copies stay mapped
  const std::string& staying = compiled("no_delete.c", {"-Wl,-z,nodelete"});
  for (size_t i = 0; i < hrmr::limits::kKeptImagesMax; ++i) {
    LoadedModule module = bench.load("no_delete", staying).take();
    module.image->unload();
    REQUIRE_FALSE(module.image->close().is_ok());
  }
  CHECK(bench.loader.kept_images() == hrmr::limits::kKeptImagesMax);
  const std::string refusal = bench.load("no_delete", staying).message();
  CHECK(contains(refusal, "64 old generations, 64 of them of this module, could not be unloaded"));
  CHECK(contains(refusal, "restart HRMR; it was linked with -z nodelete"));
  CHECK(bench.private_files() == hrmr::limits::kKeptImagesMax);
  // It is refused when it has mended its ways, too: what it left behind is still there.
  CHECK(contains(bench.load("no_delete", compiled("no_delete.c")).message(), "restart HRMR"));
  LoadedModule other = bench.load("good", good_module("good", "1", "GOOD")).take();
  close(other);
}

TEST_CASE("lets go of a kept copy when the thread that held it has ended") {
  Bench bench;
  const std::string name = "thread_local_destructor";
  std::promise<void> is_closed;
  std::promise<void> may_end;
  std::thread toucher([&] {
    LoadedModule module = bench.load(name, compiled(name + ".cpp")).take();
    CHECK_FALSE(module.image->close().is_ok());
    is_closed.set_value();
    may_end.get_future().wait();
  });
  is_closed.get_future().wait();
  LoadedModule module = bench.load("good", good_module("good", "1", "GOOD")).take();
  CHECK(bench.private_files() == 2);
  may_end.set_value();
  toucher.join();
  close(module);  // which, as any dlclose does, drops what nobody holds any more
  module = bench.load("good").take();
  CHECK(bench.private_files() == 1);
  close(module);
}

TEST_CASE("a thousand generations leave no map, no file and no descriptor behind") {
  Bench bench;
  bench.put("good", good_module("good", "1", "GOOD"));
  const auto cycle = [&bench] {
    auto loaded = bench.load("good");
    REQUIRE_MESSAGE(loaded.is_ok(), loaded.message());
    close(loaded.value());
  };
  const auto descriptors = [] {
    const std::filesystem::directory_iterator at("/proc/self/fd");
    return std::distance(begin(at), end(at));
  };
  cycle();
  const size_t maps = map_lines();
  const auto open_before = descriptors();
  for (int i = 0; i < 1000; ++i) cycle();
  CHECK(map_lines() == maps);
  CHECK(descriptors() == open_before);
  CHECK(bench.private_files() == 0);
}
