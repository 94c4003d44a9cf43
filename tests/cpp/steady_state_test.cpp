// The promise of the request path: in the steady state it allocates nothing and takes no lock, on
// no thread.
//
// Every malloc and every lock of the process is counted while a client that allocates nothing
// itself asks away: by hooks of the sanitizers' allocators, else by standing in front of the C
// library's functions.
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include "native_server.h"

namespace {

std::atomic<long> mallocs{0};
std::atomic<long> locks{0};  // stays 0 under sanitizers, which take locks of their own

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// As <sanitizer/allocator_interface.h> has it, which comes with clang only.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));

static void count_malloc(const volatile void*, size_t) {
  mallocs.fetch_add(1, std::memory_order_relaxed);
}
static void ignore_free(const volatile void*) {}
static const int hooks_installed =
    __sanitizer_install_malloc_and_free_hooks(count_malloc, ignore_free);
#else
extern "C" void* __libc_malloc(size_t size);
extern "C" __attribute__((visibility("default"))) void* malloc(size_t size) {
  mallocs.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
static const int hooks_installed = 1;

// The reload thread takes part in no request. On a busy machine its first turn, or the end of the
// load, comes when requests are counted already.
static bool is_reload_thread() {
  char name[16] = {};
  ::prctl(PR_GET_NAME, name);
  return std::string_view(name) == "hrmr-reload";
}

// And every other lock that is taken, in the same way.
extern "C" __attribute__((visibility("default"))) int pthread_mutex_lock(pthread_mutex_t* mutex) {
  using Lock = int (*)(pthread_mutex_t*);
  static const Lock real = reinterpret_cast<Lock>(::dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  if (!is_reload_thread()) locks.fetch_add(1, std::memory_order_relaxed);
  return real(mutex);
}
#endif

using namespace hrmr;
using namespace hrmr::test;

namespace {

// Sends `asked` and reads exactly as many bytes as `expected` has; both stay the caller's. Of an
// HTTP answer, whose date changes, only the status line is compared.
bool ask(Client& client, std::string_view asked, std::string_view expected) {
  std::array<char, 64 * 1024> answer;
  client.send(asked);
  size_t got = 0;
  while (got < expected.size()) {
    const ssize_t more = client.read_into(answer.data() + got, expected.size() - got);
    if (more <= 0) return false;
    got += static_cast<size_t>(more);
  }
  const size_t compared = expected.substr(0, 5) == "HTTP/" ? 15 : got;
  return std::string_view(answer.data(), compared) == expected.substr(0, compared);
}

long mallocs_of(Client& client, std::string_view asked, std::string_view expected) {
  for (int i = 0; i < 200; ++i) REQUIRE(ask(client, asked, expected));
  const long before = mallocs.load();
  const long locks_before = locks.load();
  bool is_right = true;
  for (int i = 0; i < 1000; ++i) is_right = ask(client, asked, expected) && is_right;
  const long after = mallocs.load();
  CHECK(locks.load() == locks_before);
  CHECK(is_right);
  return after - before;
}

int list_arguments(const hrmr_call* call, hrmr_reply* reply, void*) {
  server::host_table().value_list(reply, call->count);
  for (size_t i = 0; i < call->count; ++i) {
    server::host_table().value_bytes(reply, call->arguments[i]);
  }
  return HRMR_OK;
}

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("the counters of this test see a malloc and a lock") {
  REQUIRE(hooks_installed > 0);
  const long before = mallocs.load();
  const std::string text(1000, 'x');
  CHECK(text.size() == 1000);
  CHECK(mallocs.load() > before);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const long locks_before = locks.load();
  Log().info("test", "takes a lock");
  CHECK(locks.load() > locks_before);
#endif
}

TEST_CASE(
    "a request in the steady state takes no memory and no lock: inline, pool, one at a time, "
    "pipelined") {
  const Spec inline_route{"IN ", Run::kInline, say, "inline "};
  const Spec pool_route{"POOL ", Run::kPool, say, "pooled "};
  const Spec get{"GET ", Run::kInline, say, "got ", modules::RouteFraming::kHttp};
  const Spec post{"POST ", Run::kPool, say, "put ", modules::RouteFraming::kHttp};
  Running running({inline_route, pool_route, get, post});
  Client client = running.client();
  CHECK(mallocs_of(client, "IN 1\n", "inline 1\n") == 0);
  CHECK(mallocs_of(client, "POOL 2\n", "pooled 2\n") == 0);
  const std::string asked = repeated("IN 1\nPOOL 2\nPOOL 3\n", 20);
  const std::string expected = repeated("inline 1\npooled 2\npooled 3\n", 20);
  CHECK(mallocs_of(client, asked, expected) == 0);

  const std::string_view request = "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
  const std::string_view posted = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
  for (const std::string_view message : {request, posted}) {
    Client http = running.client();
    http.send(message);
    std::string answer;
    while (answer.find("\r\n\r\n") == std::string::npos) answer += http.line();
    // The body is "got " or "put ", then the request behind its prefix, then a line feed.
    const size_t prefix_bytes = message.find(' ') + 1;
    answer.resize(answer.size() + 4 + message.size() - prefix_bytes + 1);
    REQUIRE(http.skip(answer.size() - (answer.find("\r\n\r\n") + 4)));
    CHECK(mallocs_of(http, message, answer) == 0);
  }
}

TEST_CASE("neither does a file that the module http has cached, small or large, whole or a part") {
  TempFolder site;
  const std::string content(200'000, 'x');
  for (const auto& [name, size] : {std::pair("small.txt", 1000), std::pair("large.txt", 200'000)}) {
    const std::string path = site / name;
    write_file(path, content.substr(0, static_cast<size_t>(size)));
    const timespec times[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  }
  server::Options options;
  options.registry.configs["http"]["root"] = site.path();
  // It leads its entries back to the disk each second, on the pool; not within this test.
  options.registry.configs["http"]["check_ms"] = "3600000";
  NativeServer native({}, options);
  native.put("http", compiled("../../module_src/http.cpp", {"-fno-gnu-unique"}));
  REQUIRE(contains(native.reload("http"), "http"));

  for (const std::string_view what :
       {"/small.txt HTTP/1.1\r\n", "/large.txt HTTP/1.1\r\nRange: bytes=150000-150099\r\n",
        "/small.txt HTTP/1.1\r\nIf-None-Match: *\r\n"}) {
    CAPTURE(what);
    const std::string message = "GET " + std::string(what) + "Host: a\r\nAccept: */*\r\n\r\n";
    Client http = native.client();
    // Until it is cached: files that changed just now are not.
    std::string answer;
    const bool is_ready = eventually([&] {
      http.send(message);
      answer.clear();
      while (answer.find("\r\n\r\n") == std::string::npos) answer += http.line();
      const size_t length_at = answer.find("Content-Length: ");
      const size_t length =
          length_at == std::string::npos ? 0 : std::stoul(answer.substr(length_at + 16));
      REQUIRE(http.skip(length));
      answer.append(length, 'x');
      return answer.find("ETag: \"") != std::string::npos;
    });
    REQUIRE(is_ready);
    CHECK(mallocs_of(http, message, answer) == 0);
  }
}

TEST_CASE("so does the call of a command, as an array and as a line") {
  Running running({command_spec("KV.IN", Run::kInline, list_arguments),
                   command_spec("KV.POOL", Run::kPool, list_arguments)});
  Client client = running.client();
  const std::string_view array = "*2\r\n$5\r\nKV.IN\r\n$3\r\na b\r\n";
  const std::string_view pooled = "*2\r\n$7\r\nkv.pool\r\n$3\r\na b\r\n";
  const std::string_view answer = "*1\r\n$3\r\na b\r\n";
  CHECK(mallocs_of(client, array, answer) == 0);
  CHECK(mallocs_of(client, pooled, answer) == 0);
  CHECK(mallocs_of(client, "KV.IN \"a b\"\n", answer) == 0);
  CHECK(mallocs_of(client, "*1\r\n$4\r\nPING\r\n", "+PONG\r\n") == 0);
  const std::string asked = repeated(std::string(array) + std::string(pooled), 30);
  CHECK(mallocs_of(client, asked, repeated(answer, 60)) == 0);
}
