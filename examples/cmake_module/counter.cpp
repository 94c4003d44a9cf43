// counter: a module whose state outlives its reloads, and with a configuration.
//
//     $ printf 'COUNT\nCOUNT\nCLOSE\n' | nc 127.0.0.1 8080
//     1
//     2
//
// Build it anew and reload, under any load: no number is ever told twice, and none is left out.
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

  // What the next generation finds in previous(). No handler runs while it is called, and none
  // before the next generation answers, so no count can come in between. The schema is ours: it
  // changes when the bytes mean something else, so that a newer version knows what it reads.
  void save(hrmr::Save& save) const { save.schema(kSchema).write(std::to_string(count)); }

  static constexpr uint64_t kSchema = 1;
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

long to_number(const char* what, std::string_view text) {
  long number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size())
    throw std::runtime_error(what + (" is not a whole number: " + std::string(text)));
  return number;
}

// What it throws is shown to who asked for the reload, and the old generation serves on.
std::unique_ptr<Counter> load(hrmr::Module& module) {
  auto counter = std::make_unique<Counter>();
  counter->count = to_number("start", module.config("start", "0"));
  if (const hrmr::Previous before = module.previous()) {
    if (before.schema != Counter::kSchema) {
      throw std::runtime_error("cannot read a count of schema " + std::to_string(before.schema));
    }
    counter->count = to_number("the count handed over", before.bytes);
  }
  module.route("COUNT", add_one, *counter);
  module.route("GET /count", show, *counter);
  return counter;
}

}  // namespace

HRMR_MODULE("counter", "1.1", load)
