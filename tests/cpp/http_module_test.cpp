// The paths of the bundled http module: what they lead to, and what they do not lead to.
#include "http_module.h"

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>

namespace {

using namespace hrmr::test::http_module;

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
      CHECK(http().get("/folder_in/index.html").status == 404);  // no link at all there
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

TEST_CASE("http: answers a missing file with a page that shows nothing of the request") {
  const Answer answer = http().get("/%3Cscript%3E");
  CHECK(answer.status == 404);
  CHECK(answer.header("X-Content-Type-Options") == "nosniff");
  CHECK(answer.body == "404: nothing here\n");
}

TEST_CASE("http: refuses to load without a folder, and says what to do") {
  const HttpModule none(Headers{{"root", ""}});
  CHECK_FALSE(none.is_loaded());
  CHECK(none.loading().error.find("--static DIR") != std::string::npos);

  const std::string missing = (site() / "missing").string();
  const HttpModule gone(Headers{{"root", missing}});
  const std::string& error = gone.loading().error;
  CHECK_FALSE(gone.is_loaded());
  CHECK(error.find(missing) != std::string::npos);
  CHECK(error.find("No such file or directory") != std::string::npos);
  CHECK(error.find("--static DIR") != std::string::npos);
}

TEST_CASE("http: refuses a setting that makes no sense, and names key, value and rule") {
  struct Setting {
    const char* key;
    const char* value;
    const char* rule;
  };
  constexpr Setting kSettings[] = {
      {"index", "a/b", "must be names of files"},
      {"index", "", "must be 1 to 8 names"},
      {"cache_control", "a\nb", "must be printable ASCII"},
      {"precompressed", "1", "must be true or false"},
      {"cache_entries", "many", "must be a whole number, 0 to 1000000"},
      {"cache_entries", "1000001", "must be a whole number, 0 to 1000000"},
      {"cache_bytes", "65G", "must be 0 to 68719476736 bytes"},
      {"cache_file_bytes", "17M", "must be 0 to 16777216 bytes"},
      {"check_ms", "3600001", "must be a whole number, 0 to 3600000"},
      {"check_ms", "1.5", "must be a whole number, 0 to 3600000"},
  };
  for (const Setting& setting : kSettings) {
    const HttpModule refused(Headers{{setting.key, setting.value}});
    CAPTURE(setting.key);
    CHECK_FALSE(refused.is_loaded());
    const std::string start =
        std::string("[modules.http] ") + setting.key + " = \"" + setting.value + "\": ";
    CHECK(refused.loading().error.find(start + setting.rule) == 0);
  }
}

TEST_CASE("http: answers GET and HEAD on the loop, and has no other route") {
  REQUIRE(http().loading().routes.size() == 2);
  for (const auto& [prefix, route] : http().loading().routes) {
    CHECK((prefix == "GET " || prefix == "HEAD "));
    CHECK(route.run == HRMR_RUN_INLINE);
  }
  CHECK(http().loading().timers == 1);
}

}  // namespace
