// The memory of very many arguments is given back once their call is answered, whoever it called
// and however it was written.
#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "eventually.h"
#include "running_server.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
// As <sanitizer/allocator_interface.h> has it, which comes with clang only.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
static size_t allocated_bytes() { return __sanitizer_get_current_allocated_bytes(); }
#else
#include <malloc.h>
static size_t allocated_bytes() {
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}
#endif

using namespace hrmr;
using namespace hrmr::test;

namespace {

constexpr size_t kCount = 500'000;
// Of as many views of arguments, at the least.
constexpr size_t kViewsBytes = kCount * sizeof(wire::Text);

int count_all(const hrmr_call* call, hrmr_reply* reply, void*) {
  return server::host_table().value_integer(reply, static_cast<int64_t>(call->count));
}

std::string repeated(std::string_view text) {
  std::string all;
  all.reserve(text.size() * kCount);
  for (size_t i = 0; i < kCount; ++i) all += text;
  return all;
}

// `words`, and behind them very many arguments.
std::string array(const std::vector<std::string>& words) {
  std::string text = "*" + std::to_string(words.size() + kCount) + "\r\n";
  for (const std::string& word : words) {
    text += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return text + repeated("$1\r\nx\r\n");
}

std::string post(const std::string& name, const std::string& body) {
  return "POST /call/" + name +
         " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

struct Way {
  std::string sent;
  std::string answer;  // is in the last line of what comes back
};

std::vector<Way> ways() {
  const std::string count = std::to_string(kCount);
  const std::string list = "[1" + repeated(",1").substr(2) + "]";
  std::vector<Way> all;
  for (const std::string name : {"KV.IN", "KV.POOL"}) {
    all.push_back({array({name}), ":" + count});
    all.push_back({name + repeated(" x") + "\n", ":" + count});
    all.push_back({post(name, list), count});
    all.push_back({post(name, list.substr(0, list.size() - 1)), "the JSON list has no end"});
    all.push_back({array({name + ".FEW"}), "wrong number of arguments"});
  }
  all.push_back({array({"NOSUCH"}), "unknown command 'NOSUCH'"});
  // The server's own: refused for their number, refused by themselves, and its words.
  all.push_back({array({"SELECT"}), "wrong number of arguments for 'select'"});
  all.push_back({array({"CLIENT", "ID"}), "wrong number of arguments for 'client|id'"});
  all.push_back({array({"RELOAD"}), "RELOAD takes at most"});
  all.push_back({array({"SHUTDOWN"}), "syntax error"});
  return all;
}

// The last line of the answer.
std::string ask(const Running& running, const std::string& sent) {
  Client client = running.client();
  client.send(sent);
  std::string line = client.line();
  if (line.substr(0, 5) != "HTTP/") return line;
  while (line != "\r\n") {
    line = client.line();
    REQUIRE_FALSE(line.empty());
  }
  return client.line();
}

}  // namespace

TEST_CASE("the memory of very many arguments is given back, however they came") {
  server::Options options;
  options.threads = 1;
  options.frame_limits.line_bytes_max = 4 * kCount;
  Spec few = command_spec("KV.IN.FEW", Run::kInline, count_all);
  Spec few_pooled = command_spec("KV.POOL.FEW", Run::kPool, count_all);
  few.arguments_max = few_pooled.arguments_max = 2;
  Running running({command_spec("KV.IN", Run::kInline, count_all),
                   command_spec("KV.POOL", Run::kPool, count_all), few, few_pooled},
                  options);
  for (const std::string small : {"KV.IN 1\n", "KV.POOL 1\n"})
    CHECK(ask(running, small) == ":1\r\n");
  for (const Way& way : ways()) {
    const std::string shown = way.sent.substr(0, 40);
    CAPTURE(shown);
    const size_t before = allocated_bytes();
    const std::string answer = ask(running, way.sent);
    CHECK_MESSAGE(answer.find(way.answer) != std::string::npos, answer);
    // By then its connection has given its buffers back, too.
    CHECK(eventually([&] { return allocated_bytes() < before + kViewsBytes / 2; }));
  }
}
