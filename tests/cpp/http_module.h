// The bundled http module without a server: http.cpp is compiled as `hrmr build` would, loaded, and
// called through a host table that records what it is told. And a folder full of traps to serve.
#pragma once

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <hrmr/abi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hrmr::test::http_module {

namespace fs = std::filesystem;

constexpr std::string_view kSecret = "nobody outside may read this";

// --- the host ---

struct Answer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string reserved;
  bool may_move = false;  // the handler is called as on the loop
  bool is_for_pool = false;

  std::string header(std::string_view name) const {
    for (const auto& [known, value] : headers) {
      if (known == name) return value;
    }
    return {};
  }
};

struct Loading : hrmr_load {
  std::map<std::string, std::string> config;
  std::string error;
  size_t timers = 0;
  std::vector<std::pair<std::string, hrmr_route>> routes;
};

inline Answer& answer_of(hrmr_reply* reply) { return *reinterpret_cast<Answer*>(reply); }
inline std::string text_of(hrmr_bytes bytes) { return std::string(bytes.data, bytes.size); }
inline hrmr_bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

inline int add_route(hrmr_load* load, const hrmr_route* route) {
  static_cast<Loading*>(load)->routes.emplace_back(text_of(route->prefix), *route);
  return HRMR_OK;
}

inline hrmr_bytes config(hrmr_load* load, const char* key) {
  const auto& known = static_cast<Loading*>(load)->config;
  const auto found = known.find(key);
  if (found == known.end()) return {nullptr, 0};
  return bytes_of(found->second);
}

inline int config_keys(hrmr_load*, const char* const*, size_t) { return HRMR_OK; }

inline int add_timer(hrmr_load* load, const hrmr_timer*) {
  ++static_cast<Loading*>(load)->timers;
  return HRMR_OK;
}

inline int set_error(hrmr_load* load, hrmr_bytes message) {
  static_cast<Loading*>(load)->error = text_of(message);
  return HRMR_FAILED;
}

inline void write_log(hrmr_context*, int, hrmr_bytes) {}

inline int write_body(hrmr_reply* reply, hrmr_bytes bytes) {
  answer_of(reply).body.append(bytes.data, bytes.size);
  return HRMR_OK;
}

inline char* reserve(hrmr_reply* reply, size_t size) {
  Answer& answer = answer_of(reply);
  answer.reserved.assign(size, '?');
  return answer.reserved.data();
}

inline int commit(hrmr_reply* reply, size_t size) {
  Answer& answer = answer_of(reply);
  if (size > answer.reserved.size()) return HRMR_BAD_ARGUMENT;
  answer.body.append(answer.reserved, 0, size);
  return HRMR_OK;
}

inline int set_status(hrmr_reply* reply, int status) {
  answer_of(reply).status = status;
  return HRMR_OK;
}

inline int add_header(hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value) {
  for (const char c : text_of(name) + text_of(value)) {
    if (c == '\r' || c == '\n' || c == '\0') return HRMR_BAD_ARGUMENT;
  }
  answer_of(reply).headers.emplace_back(text_of(name), text_of(value));
  return HRMR_OK;
}

inline int close_after(hrmr_reply*) { return HRMR_OK; }

inline int send_file(hrmr_reply* reply, int fd, uint64_t offset, uint64_t length) {
  std::string& body = answer_of(reply).body;
  const size_t start = body.size();
  body.resize(start + length);
  const ssize_t got = ::pread(fd, body.data() + start, length, static_cast<off_t>(offset));
  return got == static_cast<ssize_t>(length) ? HRMR_OK : HRMR_BAD_ARGUMENT;
}

inline int to_pool(hrmr_reply* reply) {
  Answer& answer = answer_of(reply);
  if (!answer.may_move) return HRMR_TOO_LATE;
  answer.is_for_pool = true;
  return HRMR_OK;
}

inline int fail(hrmr_reply* reply, int status, hrmr_bytes message) {
  answer_of(reply) = Answer{status, {}, text_of(message), {}, false, false};
  return HRMR_OK;
}

inline const void* extension(const char*) { return nullptr; }

inline hrmr_host make_host() {
  hrmr_host host{};
  host.size = sizeof host;
  host.abi = HRMR_ABI;
  host.version = "test";
  host.add_route = add_route;
  host.config = config;
  host.config_keys = config_keys;
  host.set_error = set_error;
  host.log = write_log;
  host.write = write_body;
  host.reserve = reserve;
  host.commit = commit;
  host.status = set_status;
  host.header = add_header;
  host.close = close_after;
  host.fail = fail;
  host.extension = extension;
  host.add_timer = add_timer;
  host.send_file = send_file;
  host.to_pool = to_pool;
  return host;
}

inline const hrmr_host kHost = make_host();

// --- the folder ---

inline void write_file(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

// As if it had been written at that second.
inline void make_old(const fs::path& path, time_t second = 1'700'000'000) {
  const timespec times[2] = {{second, 0}, {second, 0}};
  REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
}

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "hrmr-http-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    top_ = pattern;
    for (const char* folder : {"outside", "site", "site/docs", "site/bare", "site/.git",
                               "site/.well-known", "site/two words", "site/..."})
      fs::create_directory(top_ / folder);
    for (const char* secret : {"outside/secret.txt", "site/.env", "site/.git/config",
                               "site/docs/.htaccess", "site/.well-known/.key", "site/...x",
                               "site/back\\slash.txt", "site/line\nfeed.txt", "site/.../a.txt"})
      write_file(top_ / secret, kSecret);
    write_file(site() / "index.html", "<h1>start</h1>");
    write_file(site() / "docs/index.html", "<h1>docs</h1>");
    write_file(site() / "docs/readme.txt", "read me");
    write_file(site() / "two words/a+b.txt", "spaces");
    write_file(site() / "100%.txt", "percent");
    write_file(site() / "\xc3\xbc.txt", "umlaut");
    write_file(site() / "empty.css", "");
    write_file(site() / ".well-known/security.txt", "contact");
    write_file(site() / "UPPER.JPEG", "picture");
    write_file(site() / "large.txt", std::string(100'000, 'x') + "end");
    // Older than what counts as changed just now.
    for (const auto& entry : fs::recursive_directory_iterator(site())) {
      if (entry.is_regular_file() && !entry.is_symlink()) make_old(entry.path());
    }
    add_links();
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(top_, ignored);
  }

  const fs::path& top() const { return top_; }
  fs::path site() const { return top_ / "site"; }

 private:
  void add_links() {
    fs::create_symlink("docs/readme.txt", site() / "link_in.txt");
    fs::create_symlink("docs", site() / "folder_in");
    fs::create_symlink("../outside/secret.txt", site() / "link_out.txt");
    fs::create_symlink(top_ / "outside/secret.txt", site() / "link_absolute.txt");
    fs::create_symlink("../outside", site() / "folder_out");
    fs::create_symlink("../../outside/secret.txt", site() / "docs/link_out.txt");
    fs::create_symlink("/proc/self/root", site() / "magic");
    fs::create_symlink("loop", site() / "loop");
    fs::create_symlink("nowhere", site() / "dangling");
    fs::create_symlink("../../outside/secret.txt", site() / "bare/index.html");
    REQUIRE(::mkfifo((site() / "fifo").c_str(), 0644) == 0);
  }

  fs::path top_;
};

// --- the module ---

using Headers = std::vector<std::pair<std::string, std::string>>;

// What all cases of a test file share: the folder, and the module, compiled once.
class Shared {
 public:
  Shared() {
    const char* chosen = std::getenv("CXX");
    const std::string compiler = chosen != nullptr && *chosen != '\0' ? chosen : "c++";
    const std::string command = compiler + " -std=c++17 -O1 -fPIC -shared -fvisibility=hidden -I'" +
                                HRMR_SDK_INCLUDE "' '" HRMR_MODULE_SRC "/http.cpp' -o '" +
                                library().string() + "'";
    REQUIRE(std::system(command.c_str()) == 0);
  }
  const Folder& folder() const { return folder_; }
  fs::path library() const { return folder_.top() / "http.so"; }

 private:
  Folder folder_;
};

inline const Shared& shared() {
  static const Shared shared;
  return shared;
}

inline fs::path site() { return shared().folder().site(); }

// One generation of the module, with its `config`; loaded from a copy of its own, as the host does.
class HttpModule {
 public:
  explicit HttpModule(const Headers& config = {}) {
    static int copies = 0;
    const fs::path library = shared().folder().top() / (std::to_string(++copies) + ".so");
    fs::copy_file(shared().library(), library);
    handle_ = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(handle_ != nullptr, ::dlerror());
    module_ = static_cast<const hrmr_module*>(::dlsym(handle_, "hrmr_module_v1"));
    REQUIRE(module_ != nullptr);
    loading_.size = sizeof(hrmr_load);
    loading_.host = &kHost;
    loading_.context = nullptr;
    loading_.state = nullptr;
    loading_.config["root"] = site().string();
    for (const auto& [key, value] : config) loading_.config[key] = value;
    is_loaded_ = module_->load(&loading_) == HRMR_OK;
  }
  HttpModule(const HttpModule&) = delete;
  HttpModule& operator=(const HttpModule&) = delete;
  ~HttpModule() {
    if (is_loaded_) module_->unload(loading_.state);
    ::dlclose(handle_);
  }

  bool is_loaded() const { return is_loaded_; }
  const Loading& loading() const { return loading_; }

  // As the pool calls it, or, with `may_move`, as the loop does.
  Answer ask(std::string_view method, std::string_view target, const Headers& headers = {},
             bool may_move = false) const {
    std::vector<hrmr_header> raw;
    for (const auto& [name, value] : headers) raw.push_back({bytes_of(name), bytes_of(value)});
    hrmr_request request{};
    request.size = sizeof request;
    request.framing = HRMR_FRAMING_HTTP;
    request.http_minor = 1;
    request.method = bytes_of(method);
    request.target = bytes_of(target);
    const size_t mark = target.find('?');
    request.path = bytes_of(target.substr(0, mark));
    if (mark != std::string_view::npos) request.query = bytes_of(target.substr(mark + 1));
    request.headers = raw.data();
    request.header_count = raw.size();

    const std::string prefix = std::string(method) + " ";
    Answer answer;
    answer.may_move = may_move;
    for (const auto& [known, route] : loading_.routes) {
      if (known != prefix) continue;
      auto* reply = reinterpret_cast<hrmr_reply*>(&answer);
      const int result = route.function(&request, reply, route.context);
      CHECK((result == HRMR_OK || answer.is_for_pool));
      return answer;
    }
    FAIL("no route for the method");
    return answer;
  }
  Answer get(std::string_view target, const Headers& headers = {}) const {
    return ask("GET", target, headers);
  }
  // Whether the loop can answer.
  bool is_cached(std::string_view target, const Headers& headers = {}) const {
    return !ask("GET", target, headers, true).is_for_pool;
  }

 private:
  void* handle_ = nullptr;
  const hrmr_module* module_ = nullptr;
  Loading loading_;
  bool is_loaded_ = false;
};

// With the defaults, for all cases of a test file.
inline const HttpModule& http() {
  static const HttpModule module;
  return module;
}

}  // namespace hrmr::test::http_module
