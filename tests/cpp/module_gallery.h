// What tests of the modules room share: the modules of tests/modules, compiled by the system's
// compiler and kept for the run; folders and files; a host whose replies are strings; publishers
// that play the loops.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <hrmr/abi.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "modules/load_call.h"
#include "modules/native_loader.h"
#include "modules/registry.h"

namespace hrmr::test {

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = std::filesystem::temp_directory_path() / "hrmr-test-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

// Into the file that is there, if there is one: its inode stays.
inline void write_file(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content;
  REQUIRE(file.good());
}

// As a build does that is careful: a new file takes the place of the old one.
inline void replace_file(const std::string& path, const std::string& content) {
  write_file(path + ".new", content);
  std::filesystem::rename(path + ".new", path);
}

inline void run_compiler(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  REQUIRE(::posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ) == 0);
  int result = -1;
  REQUIRE(::waitpid(pid, &result, 0) == pid);
  REQUIRE(result == 0);
}

// The content of the library that `source` of tests/modules gives. Compiled once per run for the
// same flags.
inline const std::string& compiled(const std::string& source,
                                   const std::vector<std::string>& flags = {}) {
  static std::map<std::pair<std::string, std::vector<std::string>>, std::string> kept;
  std::string& library = kept[{source, flags}];
  if (!library.empty()) return library;
  const TempFolder folder;
  const bool is_cpp = source.ends_with(".cpp");
  std::vector<std::string> words = {is_cpp ? "c++" : "cc", is_cpp ? "-std=c++20" : "-std=c11"};
  for (const char* word : {"-shared", "-fPIC", "-O1", "-fvisibility=hidden", "-Wall", "-Werror"}) {
    words.emplace_back(word);
  }
  words.push_back(std::string("-I") + HRMR_SDK_INCLUDE);
  words.insert(words.end(), flags.begin(), flags.end());
  words.push_back(std::string(HRMR_TEST_MODULES) + "/" + source);
  words.insert(words.end(), {"-o", folder / "module.so"});
  run_compiler(words);
  library = read_file(folder / "module.so");
  return library;
}

// good.c under that name, answering `version` to `prefix` (and to `second_prefix`, on the pool).
inline const std::string& good_module(const std::string& name, const std::string& version,
                                      const std::string& prefix,
                                      const std::string& second_prefix = "") {
  const auto quoted = [](const std::string& macro, const std::string& text) {
    return "-D" + macro + "=\"" + text + "\"";
  };
  std::vector<std::string> flags = {quoted("MODULE_NAME", name), quoted("VERSION", version),
                                    quoted("PREFIX", prefix)};
  if (!second_prefix.empty()) flags.push_back(quoted("SECOND_PREFIX", second_prefix));
  return compiled("good.c", flags);
}

// --- a host whose hrmr_reply is a std::string ---

inline std::string& text_of(hrmr_reply* reply) { return *reinterpret_cast<std::string*>(reply); }

inline const hrmr_host& test_host() {
  static const hrmr_host host = [] {
    hrmr_host filled{};
    filled.size = sizeof filled;
    filled.abi = HRMR_ABI;
    filled.version = "0.0.0";
    modules::fill_load_functions(filled);
    filled.write = [](hrmr_reply* reply, hrmr_bytes bytes) -> int {
      text_of(reply).append(bytes.data, bytes.size);
      return HRMR_OK;
    };
    filled.fail = [](hrmr_reply* reply, int status, hrmr_bytes message) -> int {
      text_of(reply) = std::to_string(status) + " " + std::string(message.data, message.size);
      return HRMR_OK;
    };
    return filled;
  }();
  return host;
}

// What the route's function answers to `bytes`.
inline std::string call(const modules::Route& route, const std::string& bytes) {
  hrmr_request request{};
  request.size = sizeof request;
  request.framing = static_cast<uint32_t>(route.framing);
  request.bytes = {bytes.data(), bytes.size()};
  request.rest = {bytes.data() + route.prefix.size(), bytes.size() - route.prefix.size()};
  std::string reply;
  const int result = route.function(&request, reinterpret_cast<hrmr_reply*>(&reply), route.context);
  return result == HRMR_OK ? reply : "returned " + std::to_string(result);
}

// Everything written to the log since the last call, one "source: message" per line.
inline std::string take_log(Log& log) {
  std::vector<LogRecord> records;
  log.wait(records, 0);
  std::string text;
  for (const LogRecord& record : records) text += record.source + ": " + record.message + "\n";
  return text;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// --- publishers ---

// Loops that obey at once, all on the calling thread. What has drained is in `drained`.
class FakeLoops final : public modules::Publisher {
 public:
  explicit FakeLoops(unsigned loops = 1) : loops_(loops) {}

  void publish(const modules::Publication& change) override {
    ++publications;
    changes.push_back(change);
    table = change.table;
    tables.push_back(table);
    for (unsigned loop = 0; loop < loops_; ++loop) {
      for (modules::Module* module : change.resting) {
        if (module->rest_on(loop)) drained.push_back(module);
      }
      for (modules::Module* module : change.resumed) module->resume_on(loop);
      for (modules::Module* module : change.retired) {
        if (module->retire_on(loop)) drained.push_back(module);
      }
    }
    if (on_publish) on_publish(change);
  }
  bool wait_drained(modules::Module& module, uint64_t) override {
    if (on_wait) on_wait(module);
    return !waits_in_vain && std::erase(drained, &module) != 0;
  }
  void forget_drained(modules::Module& module) override { std::erase(drained, &module); }
  modules::InUse count_use(modules::Module& module) override {
    size_t requests = 0;
    for (unsigned loop = 0; loop < loops_; ++loop) requests += module.pins_on(loop);
    return {requests, module.deferred()};
  }

  modules::RouteMatch match(const std::string& bytes) const {
    return table->match(modules::framing_of_prefix(bytes), bytes);
  }
  // What the module answers that has the longest prefix of `bytes`; "none": there is none.
  std::string ask(const std::string& bytes) const {
    const modules::RouteMatch found = match(bytes);
    return found.route == nullptr ? "none" : call(*found.route, bytes);
  }

  std::shared_ptr<const modules::RouteTable> table;
  std::vector<std::shared_ptr<const modules::RouteTable>> tables;  // every one so far
  std::vector<modules::Publication> changes;
  std::vector<modules::Module*> drained;
  std::function<void(const modules::Publication&)> on_publish;
  std::function<void(modules::Module&)> on_wait;  // before a wait looks at `drained`
  bool waits_in_vain = false;
  int publications = 0;

 private:
  unsigned loops_;
};

inline std::string message_of(const modules::ReloadReport& report, const std::string& name) {
  for (const modules::Outcome& outcome : report.outcomes) {
    if (outcome.name == name) return outcome.message;
  }
  return "no outcome for " + name;
}

// "a loaded 1, b failed 3, c removed 0": name, change, and the generation that serves now.
inline std::string summary(const modules::ReloadReport& report) {
  static const std::map<modules::Change, std::string> words = {
      {modules::Change::kLoaded, "loaded"},
      {modules::Change::kReloaded, "reloaded"},
      {modules::Change::kUnchanged, "unchanged"},
      {modules::Change::kRemoved, "removed"},
      {modules::Change::kFailed, "failed"}};
  std::string text;
  for (const modules::Outcome& outcome : report.outcomes) {
    text += (text.empty() ? "" : ", ") + outcome.name + " " + words.at(outcome.change) + " " +
            std::to_string(outcome.generation);
  }
  return text;
}

}  // namespace hrmr::test
