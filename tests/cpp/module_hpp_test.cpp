// module.hpp, the C++ layer of the SDK, through a host table that records what it is told.
#include <doctest/doctest.h>

#include <hrmr/module.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

// --- the host ---

struct Told {
  std::vector<std::string> calls;  // "write x", "status 201", ...
  size_t room = 100;               // bytes that the reply may still grow by
  std::string scratch;
};

struct Loading : hrmr_load {
  std::vector<hrmr_route> routes;
  std::string error;
  int route_result = HRMR_OK;
};

std::vector<std::string> logged;

std::string text_of(hrmr_bytes bytes) { return std::string(bytes.data, bytes.size); }
hrmr_bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

int note(hrmr_reply* reply, std::string call, size_t bytes = 0) {
  Told& told = *reinterpret_cast<Told*>(reply);
  if (bytes > told.room) return HRMR_TOO_LARGE;
  told.room -= bytes;
  told.calls.push_back(std::move(call));
  return HRMR_OK;
}

hrmr_host make_host() {
  hrmr_host host{};
  host.size = sizeof host;
  host.abi = HRMR_ABI;
  host.version = "test";
  host.add_route = [](hrmr_load* load, const hrmr_route* route) {
    auto& loading = *static_cast<Loading*>(load);
    loading.routes.push_back(*route);
    return loading.route_result;
  };
  host.config = [](hrmr_load*, const char* key) {
    return std::string_view(key) == "known" ? HRMR_BYTES("value") : hrmr_bytes{nullptr, 0};
  };
  host.set_error = [](hrmr_load* load, hrmr_bytes message) {
    static_cast<Loading*>(load)->error = text_of(message);
    return static_cast<int>(HRMR_FAILED);
  };
  host.log = [](hrmr_context*, int level, hrmr_bytes message) {
    logged.push_back(std::to_string(level) + " " + text_of(message));
  };
  host.send_file = [](hrmr_reply* reply, int fd, uint64_t offset, uint64_t length) {
    return note(reply, "file " + std::to_string(fd) + " " + std::to_string(offset) + " " +
                           std::to_string(length));
  };
  host.write = [](hrmr_reply* reply, hrmr_bytes bytes) {
    return note(reply, "write " + text_of(bytes), bytes.size);
  };
  host.reserve = [](hrmr_reply* reply, size_t size) -> char* {
    Told& told = *reinterpret_cast<Told*>(reply);
    if (size > told.room) return nullptr;
    told.scratch.assign(size, ' ');
    return told.scratch.data();
  };
  host.commit = [](hrmr_reply* reply, size_t size) {
    return note(reply, "commit " + std::to_string(size), size);
  };
  host.status = [](hrmr_reply* reply, int status) {
    return note(reply, "status " + std::to_string(status));
  };
  host.header = [](hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value) {
    return note(reply, "header " + text_of(name) + ": " + text_of(value));
  };
  host.close = [](hrmr_reply* reply) { return note(reply, "close"); };
  host.fail = [](hrmr_reply* reply, int status, hrmr_bytes message) {
    return note(reply, "fail " + std::to_string(status) + " " + text_of(message));
  };
  return host;
}

const hrmr_host kHost = make_host();

// --- modules ---

struct State {
  State() { ++alive; }
  ~State() { --alive; }
  int calls = 0;
  static inline int alive = 0;
};

void count(const hrmr::Request&, hrmr::Reply& reply, State& state) {
  reply.write(std::to_string(++state.calls));
}
void greet(const hrmr::Request& request, hrmr::Reply& reply) { reply.write(request.rest()); }

void load_plain(hrmr::Module& module) { module.route("GREET ", greet, hrmr::kPool, hrmr::kLine); }
State* load_pointer(hrmr::Module& module) {
  auto* state = new State;
  module.route("COUNT", count, *state);
  return state;
}
std::unique_ptr<State> load_owner(hrmr::Module& module) {
  auto state = std::make_unique<State>();
  module.route("COUNT", count, *state);
  module.route(
      "RESET", [](const hrmr::Request&, hrmr::Reply&, State& counted) { counted.calls = 0; },
      *state);
  return state;
}
std::unique_ptr<State> load_throwing(hrmr::Module& module) {
  auto state = load_owner(module);
  throw std::runtime_error("no database");
}
std::unique_ptr<State> load_throwing_int(hrmr::Module&) { throw 1; }

template <auto load_function>
struct Loaded : Loading {
  explicit Loaded(int route_result_of_host = HRMR_OK) {
    size = sizeof(hrmr_load);
    host = &kHost;
    context = nullptr;
    state = nullptr;
    route_result = route_result_of_host;
    result = hrmr::Entry<load_function>::load(this);
  }
  void unload() { hrmr::Entry<load_function>::unload(state); }
  int result;
};

struct Answered {
  int result;
  std::vector<std::string> calls;
};

Answered call(const hrmr_route& route, std::string_view rest = {}) {
  hrmr_request request{};
  request.size = sizeof request;
  request.rest = bytes_of(rest);
  Told told;
  auto* reply = reinterpret_cast<hrmr_reply*>(&told);
  const int result = route.function(&request, reply, route.context);
  return {result, told.calls};
}

// What a handler that captures nothing makes of a reply.
Answered call(hrmr::Module::Handler handler) {
  Loaded<load_plain> loaded;
  hrmr_route route = loaded.routes.at(0);
  route.context = reinterpret_cast<void*>(handler);
  const Answered answered = call(route);
  loaded.unload();
  return answered;
}

using Calls = std::vector<std::string>;

TEST_CASE("module.hpp: hands a route over as it was registered") {
  Loaded<load_plain> loaded;
  CHECK(loaded.result == HRMR_OK);
  REQUIRE(loaded.routes.size() == 1);
  CHECK(text_of(loaded.routes[0].prefix) == "GREET ");
  CHECK(loaded.routes[0].run == HRMR_RUN_POOL);
  CHECK(loaded.routes[0].framing == HRMR_FRAMING_LINE);
  CHECK(call(loaded.routes[0], "bob").calls == Calls{"write bob"});
  loaded.unload();
}

TEST_CASE("module.hpp: gives handlers the state, and deletes it at unload") {
  const auto check = [](auto loaded) {
    CHECK(State::alive == 1);
    CHECK(call(loaded.routes.at(0)).calls == Calls{"write 1"});
    CHECK(call(loaded.routes.at(0)).calls == Calls{"write 2"});
    if (loaded.routes.size() > 1) {
      CHECK(call(loaded.routes[1]).result == HRMR_OK);
      CHECK(call(loaded.routes[0]).calls == Calls{"write 1"});
    }
    loaded.unload();
    CHECK(State::alive == 0);
  };
  check(Loaded<load_pointer>());
  check(Loaded<load_owner>());
}

TEST_CASE("module.hpp: a load that fails leaves nothing behind") {
  const Loaded<load_throwing> threw;
  CHECK(threw.result == HRMR_FAILED);
  CHECK(threw.error == "no database");
  CHECK(State::alive == 0);

  const Loaded<load_throwing_int> threw_int;
  CHECK(threw_int.result == HRMR_FAILED);
  CHECK(threw_int.error == "unknown exception");

  const Loaded<load_owner> refused(HRMR_CONFLICT);
  CHECK(refused.result == HRMR_CONFLICT);
  CHECK(State::alive == 0);
  CHECK(hrmr::detail::bound_list == nullptr);
}

TEST_CASE("module.hpp: an exception in a handler is an error reply and a log record") {
  logged.clear();
  const Answered answered = call([](const hrmr::Request&, hrmr::Reply& reply) {
    reply.write("half");
    throw std::runtime_error("no luck");
  });
  CHECK(answered.result == HRMR_OK);
  CHECK(answered.calls == Calls{"write half", "fail 500 no luck"});
  CHECK(logged == Calls{"40 no luck"});
  CHECK(call([](const hrmr::Request&, hrmr::Reply&) { throw 1; }).calls ==
        Calls{"fail 500 unknown exception"});
}

TEST_CASE("module.hpp: what the host refuses makes the reply fail, unless the handler says why") {
  CHECK(call([](const hrmr::Request&, hrmr::Reply& reply) {
          reply.write(std::string(101, 'x')).write("more");
        }).result == HRMR_TOO_LARGE);
  CHECK(call([](const hrmr::Request&, hrmr::Reply& reply) {
          CHECK(reply.reserve(101) == nullptr);
        }).result == HRMR_TOO_LARGE);

  const Answered explained = call([](const hrmr::Request&, hrmr::Reply& reply) {
    reply.write(std::string(101, 'x'));
    reply.fail(507, "too long").write("ignored").status(200).header("A", "b");
    CHECK(reply.reserve(1) == nullptr);
  });
  CHECK(explained.result == HRMR_OK);
  CHECK(explained.calls == Calls{"fail 507 too long"});
}

TEST_CASE("module.hpp: writes a reply in the order of the calls") {
  const Answered answered = call([](const hrmr::Request&, hrmr::Reply& reply) {
    reply.status(201).header("A", "b").write("x");
    reply.reserve(2)[0] = 'y';
    reply.commit(1).send_file(3, 4, 5).close();
  });
  CHECK(answered.result == HRMR_OK);
  CHECK(answered.calls ==
        Calls{"status 201", "header A: b", "write x", "commit 1", "file 3 4 5", "close"});
}

TEST_CASE("module.hpp: finds a header in any case, and the first of two") {
  const hrmr_header headers[] = {{HRMR_BYTES("HOST"), HRMR_BYTES("one")},
                                 {HRMR_BYTES("Host"), HRMR_BYTES("two")}};
  hrmr_request raw{};
  raw.headers = headers;
  raw.header_count = 2;
  const hrmr::Request request(&raw);
  CHECK(request.header("host") == "one");
  CHECK(request.header("hos") == "");
  CHECK(request.header("host:") == "");
  CHECK(request.path() == "");
}

TEST_CASE("module.hpp: tells a key that is not set from one that is") {
  Loading loading{};
  loading.host = &kHost;
  const hrmr::Module module(&loading);
  CHECK(module.config("known", "other") == "value");
  CHECK(module.config("unknown", "other") == "other");
  CHECK(module.config("unknown") == "");
}

}  // namespace
