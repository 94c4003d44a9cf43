// counter: a module with state, and with a configuration.
//
//     $ printf 'COUNT\nCOUNT\nCLOSE\n' | nc 127.0.0.1 8080
//     1
//     2
//
// [modules.counter] of hrmr.toml: `start`, the number to count from (default: 0).
#include <atomic>
#include <charconv>
#include <hrmr/module.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace {

// One per generation: it lives from load until after this generation's last request. With several
// loops, inline handlers run at once too: hence the atomic.
struct Counter {
  std::atomic<long> count{0};
};

void add_one(const hrmr::Request&, hrmr::Reply& reply, Counter& counter) {
  reply.write(std::to_string(++counter.count)).write("\n");
}

void show(const hrmr::Request& request, hrmr::Reply& reply, Counter& counter) {
  if (request.path() != "/count") {
    reply.fail(404, "nothing here: GET /count");
    return;
  }
  reply.header("Content-Type", "application/json");
  reply.write("{\"count\": ").write(std::to_string(counter.count)).write("}\n");
}

long to_number(std::string_view text) {
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size())
    throw std::runtime_error("start is not a whole number: " + std::string(text));
  return number;
}

// What it throws is shown to who asked for the reload, and the old generation serves on.
std::unique_ptr<Counter> load(hrmr::Module& module) {
  auto counter = std::make_unique<Counter>();
  counter->count = to_number(module.config("start", "0"));
  module.route("COUNT", add_one, *counter);
  module.route("GET /count", show, *counter);
  return counter;
}

}  // namespace

HRMR_MODULE("counter", "1.0", load)
