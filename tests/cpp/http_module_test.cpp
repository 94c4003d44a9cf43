// The bundled http module without a server: http.cpp is compiled as `hrmr build` would, loaded,
// and called through a host table that records what it is told.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <hrmr/abi.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

constexpr size_t kReplyBytesMax = 1024 * 1024;
constexpr std::string_view kSecret = "nobody outside may read this";

// --- the host ---

struct Answer {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::string reserved;

  std::string header(std::string_view name) const {
    for (const auto& [known, value] : headers) {
      if (known == name) return value;
    }
    return {};
  }
};

struct Loading : hrmr_load {
  std::string root;
  std::string error;
  std::vector<std::pair<std::string, hrmr_route>> routes;
};

Answer& answer_of(hrmr_reply* reply) { return *reinterpret_cast<Answer*>(reply); }
std::string text_of(hrmr_bytes bytes) { return std::string(bytes.data, bytes.size); }
hrmr_bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

int add_route(hrmr_load* load, const hrmr_route* route) {
  static_cast<Loading*>(load)->routes.emplace_back(text_of(route->prefix), *route);
  return HRMR_OK;
}

hrmr_bytes config(hrmr_load* load, const char* key) {
  const std::string& root = static_cast<Loading*>(load)->root;
  if (std::string_view(key) != "root" || root.empty()) return {nullptr, 0};
  return bytes_of(root);
}

int set_error(hrmr_load* load, hrmr_bytes message) {
  static_cast<Loading*>(load)->error = text_of(message);
  return HRMR_FAILED;
}

void write_log(hrmr_context*, int, hrmr_bytes) {}

int write_body(hrmr_reply* reply, hrmr_bytes bytes) {
  answer_of(reply).body.append(bytes.data, bytes.size);
  return HRMR_OK;
}

char* reserve(hrmr_reply* reply, size_t size) {
  Answer& answer = answer_of(reply);
  if (answer.body.size() + size > kReplyBytesMax) return nullptr;
  answer.reserved.assign(size, '?');
  return answer.reserved.data();
}

int commit(hrmr_reply* reply, size_t size) {
  Answer& answer = answer_of(reply);
  if (size > answer.reserved.size()) return HRMR_BAD_ARGUMENT;
  answer.body.append(answer.reserved, 0, size);
  return HRMR_OK;
}

int set_status(hrmr_reply* reply, int status) {
  answer_of(reply).status = status;
  return HRMR_OK;
}

int add_header(hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value) {
  for (const char c : text_of(name) + text_of(value)) {
    if (c == '\r' || c == '\n' || c == '\0') return HRMR_BAD_ARGUMENT;
  }
  answer_of(reply).headers.emplace_back(text_of(name), text_of(value));
  return HRMR_OK;
}

int close_after(hrmr_reply*) { return HRMR_OK; }

int fail(hrmr_reply* reply, int status, hrmr_bytes message) {
  answer_of(reply) = Answer{status, {}, text_of(message), {}};
  return HRMR_OK;
}

const void* extension(const char*) { return nullptr; }

hrmr_host make_host() {
  hrmr_host host{};
  host.size = sizeof host;
  host.abi = HRMR_ABI;
  host.version = "test";
  host.add_route = add_route;
  host.config = config;
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
  return host;
}

const hrmr_host kHost = make_host();

// --- the folder ---

void write_file(const fs::path& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
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
    write_file(site() / "largest.bin", "");
    fs::resize_file(site() / "largest.bin", kReplyBytesMax);
    write_file(site() / "too_large.bin", "");
    fs::resize_file(site() / "too_large.bin", kReplyBytesMax + 1);
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

class HttpModule {
 public:
  HttpModule() {
    const fs::path library = folder_.top() / "http.so";
    const char* chosen = std::getenv("CXX");
    const std::string compiler = chosen != nullptr && *chosen != '\0' ? chosen : "c++";
    const std::string command = compiler + " -std=c++17 -O1 -fPIC -shared -fvisibility=hidden -I'" +
                                HRMR_SDK_INCLUDE "' '" HRMR_MODULE_SRC "/http.cpp' -o '" +
                                library.string() + "'";
    REQUIRE(std::system(command.c_str()) == 0);
    handle_ = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE_MESSAGE(handle_ != nullptr, ::dlerror());
    module_ = static_cast<const hrmr_module*>(::dlsym(handle_, "hrmr_module_v1"));
    REQUIRE(module_ != nullptr);
    REQUIRE(load(folder_.site().string(), loading_) == HRMR_OK);
  }
  HttpModule(const HttpModule&) = delete;
  HttpModule& operator=(const HttpModule&) = delete;
  ~HttpModule() {
    module_->unload(loading_.state);
    ::dlclose(handle_);
  }

  int load(const std::string& root, Loading& loading) const {
    loading.size = sizeof(hrmr_load);
    loading.host = &kHost;
    loading.context = nullptr;
    loading.state = nullptr;
    loading.root = root;
    return module_->load(&loading);
  }

  Answer ask(std::string_view method, std::string_view target,
             const std::vector<hrmr_header>& headers = {}) const {
    hrmr_request request{};
    request.size = sizeof request;
    request.framing = HRMR_FRAMING_HTTP;
    request.http_minor = 1;
    request.method = bytes_of(method);
    request.target = bytes_of(target);
    const size_t mark = target.find('?');
    request.path = bytes_of(target.substr(0, mark));
    if (mark != std::string_view::npos) request.query = bytes_of(target.substr(mark + 1));
    request.headers = headers.data();
    request.header_count = headers.size();

    const std::string prefix = std::string(method) + " ";
    Answer answer;
    for (const auto& [known, route] : loading_.routes) {
      if (known != prefix) continue;
      auto* reply = reinterpret_cast<hrmr_reply*>(&answer);
      CHECK(route.function(&request, reply, route.context) == HRMR_OK);
      return answer;
    }
    FAIL("no route for the method");
    return answer;
  }
  Answer get(std::string_view target) const { return ask("GET", target); }

  const Folder& folder() const { return folder_; }
  const Loading& loading() const { return loading_; }

 private:
  Folder folder_;
  void* handle_ = nullptr;
  const hrmr_module* module_ = nullptr;
  Loading loading_;
};

// Compiled once for all cases.
const HttpModule& http() {
  static const HttpModule module;
  return module;
}

// --- targets ---

struct Hostile {
  std::string_view target;
  int status;
};

constexpr Hostile kHostile[] = {
    // dot segments, plain and encoded in every way
    {"/..", 400},
    {"/../", 400},
    {"/../outside/secret.txt", 400},
    {"/docs/../../outside/secret.txt", 400},
    {"/docs/../docs/readme.txt", 400},
    {"/docs/..", 400},
    {"/.", 400},
    {"/./index.html", 400},
    {"/docs/./readme.txt", 400},
    {"/%2e%2e/outside/secret.txt", 400},
    {"/%2E%2E/outside/secret.txt", 400},
    {"/.%2e/outside/secret.txt", 400},
    {"/%2e./outside/secret.txt", 400},
    {"/%2e/index.html", 400},
    {"/docs/%2e%2e/%2e%2e/outside/secret.txt", 400},
    {"//../outside/secret.txt", 400},
    {"/docs//..//../outside/secret.txt", 400},
    {"/.well-known/../.env", 400},
    {"/.well-known/..", 400},
    {"/..?x=1", 400},
    {"http://host/../outside/secret.txt", 400},
    {"http://host/%2e%2e/outside/secret.txt", 400},
    // slashes that are none, backslashes
    {"/docs%2freadme.txt", 400},
    {"/docs%2Freadme.txt", 400},
    {"/..%2foutside/secret.txt", 400},
    {"/%2e%2e%2foutside%2fsecret.txt", 400},
    {"/%2fetc/passwd", 400},
    {"/back\\slash.txt", 400},
    {"/back%5cslash.txt", 400},
    {"/back%5Cslash.txt", 400},
    {"/..\\outside\\secret.txt", 400},
    {"/..%5c..%5coutside/secret.txt", 400},
    // escapes that are none, control characters
    {"/%", 400},
    {"/%2", 400},
    {"/%zz", 400},
    {"/%2g", 400},
    {"/%g2", 400},
    {"/%-1", 400},
    {"/% 20", 400},
    {"/%u002e%u002e/outside/secret.txt", 400},
    {"/index.html%", 400},
    {"/%00", 400},
    {"/index.html%00", 400},
    {"/index.html%00.png", 400},
    {"/%00/../outside/secret.txt", 400},
    {"/line%0afeed.txt", 400},
    {"/index.html%0d%0aSet-Cookie:%20a=b", 400},
    {"/%7f", 400},
    // not a path at all
    {"", 400},
    {"*", 400},
    {"index.html", 400},
    {"../outside/secret.txt", 400},
    {"?x=1", 400},
    {"host:80", 400},
    {"ftp://host/index.html", 400},
    {"file:///etc/passwd", 400},
    {"http:/index.html", 400},
    {"\\index.html", 400},
    // decoded once, never twice
    {"/%252e%252e/outside/secret.txt", 404},
    {"/%25%32%65%25%32%65/outside/secret.txt", 404},
    {"/docs%252freadme.txt", 404},
    {"/%2500", 404},
    // slashes in other encodings are bytes of a name
    {"/%c0%ae%c0%ae/outside/secret.txt", 404},
    {"/..%c0%afoutside/secret.txt", 404},
    {"/%e0%80%ae%e0%80%ae/outside/secret.txt", 404},
    {"/..%ef%bc%8foutside/secret.txt", 404},
    // names with a leading dot
    {"/.env", 404},
    {"/%2eenv", 404},
    {"/.git", 404},
    {"/.git/", 404},
    {"/.git/config", 404},
    {"/docs/.htaccess", 404},
    {"/docs/%2ehtaccess", 404},
    {"/.well-known/.key", 404},
    {"/docs/.well-known/x", 404},
    {"/.../a.txt", 404},
    {"/...x", 404},
    {"/.../../../outside/secret.txt", 400},
    // links out of the folder, and what is no file
    {"/link_out.txt", 404},
    {"/link_absolute.txt", 404},
    {"/docs/link_out.txt", 404},
    {"/folder_out", 404},
    {"/folder_out/", 404},
    {"/folder_out/secret.txt", 404},
    {"/magic", 404},
    {"/magic/etc/passwd", 404},
    {"/bare/", 404},
    {"/loop", 404},
    {"/dangling", 404},
    {"/fifo", 404},
    // a path that goes on behind a file; a name that differs
    {"/index.html/", 404},
    {"/index.html/x", 404},
    {"/docs/readme.txt/", 404},
    {"/INDEX.HTML", 404},
    {"/index.html.", 404},
    {"/index.html%20", 404},
    {"/index.html::$DATA", 404},
    {"/~root", 404},
    {"/docs/readme.txt;x", 404},
    {"/etc/passwd", 404},
    {"//etc/passwd", 404},
};

void check_hostile() {
  for (const Hostile& hostile : kHostile) {
    CAPTURE(hostile.target);
    const Answer answer = http().get(hostile.target);
    CHECK(answer.status == hostile.status);
    CHECK(answer.body.find(kSecret) == std::string::npos);
    CHECK(answer.body.find("root:") == std::string::npos);
  }
}

// Makes openat2 fail with `code` on this thread, as an old kernel or a sandbox does. False when
// this system forbids filters.
bool refuse_openat2(unsigned code) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog filter{4, program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_CASE("http: serves files with their type, and folders by their index") {
  const Answer start = http().get("/");
  CHECK(start.status == 200);
  CHECK(start.body == "<h1>start</h1>");
  CHECK(start.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(start.header("Cache-Control") == "no-cache");
  CHECK(http().get("/index.html").body == start.body);
  CHECK(http().get("/docs/").body == "<h1>docs</h1>");
  CHECK(http().get("/docs/readme.txt").header("Content-Type") == "text/plain; charset=utf-8");
  CHECK(http().get("/UPPER.JPEG").header("Content-Type") == "image/jpeg");
  CHECK(http().get("/largest.bin").header("Content-Type") == "application/octet-stream");

  const Answer empty = http().get("/empty.css");
  CHECK(empty.status == 200);
  CHECK(empty.body.empty());
  CHECK(empty.header("Content-Type") == "text/css; charset=utf-8");
}

TEST_CASE("http: decodes a path once, and drops query, authority and empty segments") {
  CHECK(http().get("/two%20words/a+b.txt").body == "spaces");
  CHECK(http().get("/two%20words/a%2bb.txt").body == "spaces");
  CHECK(http().get("/100%25.txt").body == "percent");
  CHECK(http().get("/%c3%bc.txt").body == "umlaut");
  CHECK(http().get("/index.html?x=../..").body == "<h1>start</h1>");
  CHECK(http().get("/?").body == "<h1>start</h1>");
  CHECK(http().get("//docs///readme.txt").body == "read me");
  CHECK(http().get("http://host/docs/readme.txt").body == "read me");
  CHECK(http().get("HTTPS://host:8080/docs/readme.txt?x").body == "read me");
  CHECK(http().get("http://host").body == "<h1>start</h1>");
  CHECK(http().get("http://host?x=/docs/").body == "<h1>start</h1>");
  CHECK(http().get("/.well-known/security.txt").body == "contact");
}

TEST_CASE("http: follows links that stay inside the folder") {
  CHECK(http().get("/link_in.txt").body == "read me");
  CHECK(http().get("/folder_in/readme.txt").body == "read me");
}

TEST_CASE("http: refuses every way out of the folder") { check_hostile(); }

TEST_CASE("http: refuses every way out of the folder without openat2") {
  for (const unsigned code : {ENOSYS, EPERM}) {
    bool is_filtered = false;
    // A filter lasts as long as its thread.
    std::thread([&] {
      is_filtered = refuse_openat2(code);
      if (!is_filtered) return;
      check_hostile();
      CHECK(http().get("/docs/readme.txt").body == "read me");
      CHECK(http().get("/docs/").body == "<h1>docs</h1>");
      CHECK(http().get("/").body == "<h1>start</h1>");
      CHECK(http().get("/docs").status == 301);
      CHECK(http().get("/folder_in/readme.txt").status == 404);  // no link at all there
    }).join();
    WARN_MESSAGE(is_filtered, "this system forbids seccomp filters: not tested");
  }
}

TEST_CASE("http: redirects a folder without its slash, and only to this server") {
  const auto location = [](std::string_view target) {
    const Answer answer = http().get(target);
    CHECK(answer.status == 301);
    return answer.header("Location");
  };
  CHECK(location("/docs") == "/docs/");
  CHECK(location("/docs?a=1&b=2") == "/docs/?a=1&b=2");
  CHECK(location("/two%20words") == "/two%20words/");
  CHECK(location("http://elsewhere/docs") == "/docs/");
  CHECK(location("//docs") == "/docs/");
}

TEST_CASE("http: answers HEAD as GET, without reading the file") {
  for (const std::string_view target : {"/", "/docs/readme.txt", "/largest.bin", "/nothing"}) {
    CAPTURE(target);
    const Answer get = http().get(target);
    const Answer head = http().ask("HEAD", target);
    CHECK(head.status == get.status);
    CHECK(head.headers == get.headers);
    CHECK(head.body.size() == get.body.size());
  }
  // The fake host fills what it hands out with '?'.
  CHECK(http().ask("HEAD", "/docs/readme.txt").body == "???????");
}

TEST_CASE("http: answers 304 to the date that it sent, and to no other") {
  const Answer first = http().get("/docs/readme.txt");
  const std::string date = first.header("Last-Modified");
  REQUIRE(date.size() == 29);
  const auto ask = [&](const std::string& since, std::string_view none_match) {
    std::vector<hrmr_header> headers = {{bytes_of("if-modified-since"), bytes_of(since)}};
    if (!none_match.empty()) headers.push_back({bytes_of("If-None-Match"), bytes_of(none_match)});
    return http().ask("GET", "/docs/readme.txt", headers);
  };
  const Answer unchanged = ask(date, "");
  CHECK(unchanged.status == 304);
  CHECK(unchanged.body.empty());
  CHECK(unchanged.header("Last-Modified") == date);
  CHECK(ask("Sun, 06 Nov 1994 08:49:37 GMT", "").status == 200);
  CHECK(ask("", "").status == 200);
  CHECK(ask(date, "\"tag\"").status == 200);
}

TEST_CASE("http: says the date of a file as RFC 9110 wants it") {
  const fs::path file = http().folder().site() / "old.txt";
  write_file(file, "old");
  const timespec times[2] = {{784111777, 0}, {784111777, 0}};
  REQUIRE(::utimensat(AT_FDCWD, file.c_str(), times, 0) == 0);
  CHECK(http().get("/old.txt").header("Last-Modified") == "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_CASE("http: refuses a file that is larger than a reply may be") {
  CHECK(http().get("/largest.bin").body.size() == kReplyBytesMax);
  const Answer answer = http().get("/too_large.bin");
  CHECK(answer.status == 500);
  CHECK(answer.body == "this file is larger than one reply may be");
  CHECK(http().ask("HEAD", "/too_large.bin").status == 500);
}

TEST_CASE("http: sees files that come and go") {
  const fs::path file = http().folder().site() / "new.txt";
  CHECK(http().get("/new.txt").status == 404);
  write_file(file, "one");
  CHECK(http().get("/new.txt").body == "one");
  write_file(file, "two, longer");
  CHECK(http().get("/new.txt").body == "two, longer");
  fs::remove(file);
  CHECK(http().get("/new.txt").status == 404);
}

TEST_CASE("http: answers a missing file with a page that shows nothing of the request") {
  const Answer answer = http().get("/%3Cscript%3E");
  CHECK(answer.status == 404);
  CHECK(answer.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(answer.body.find("404") != std::string::npos);
  CHECK(answer.body.find("script") == std::string::npos);
}

TEST_CASE("http: refuses to load without a folder, and says what to do") {
  Loading none;
  CHECK(http().load("", none) == HRMR_FAILED);
  CHECK(none.error.find("--static DIR") != std::string::npos);

  const std::string missing = (http().folder().top() / "missing").string();
  Loading gone;
  CHECK(http().load(missing, gone) == HRMR_FAILED);
  CHECK(gone.error.find(missing) != std::string::npos);
  CHECK(gone.error.find("No such file or directory") != std::string::npos);
  CHECK(gone.error.find("--static DIR") != std::string::npos);
}

TEST_CASE("http: registers GET and HEAD on the pool") {
  REQUIRE(http().loading().routes.size() == 2);
  for (const auto& [prefix, route] : http().loading().routes) {
    const bool is_expected = prefix == "GET " || prefix == "HEAD ";
    CHECK(is_expected);
    CHECK(route.run == HRMR_RUN_POOL);
  }
}

}  // namespace
