// Generation: a module whose handlers answer what a request is made of, so that each reply tells
// whose it is. They run inline or on a pool, answer at once or defer their reply.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modules/route_table.h"
#include "server/host_table.h"
#include "wire/request.h"

namespace hrmr::fuzz {

enum class Act : uint8_t {
  kSay,
  kSayMuch,
  kSayFile,
  kClose,
  kDefer,
  kFail,
  kStream,
  kStreamFail,
  // Inline ones that have themselves called again on the pool.
  kMove,
  kMoveDefer,
  kMoveStream,
  // Of commands.
  kSayNil,
  kSayError,
  kHalf,
};

struct Part {
  const char* prefix;
  modules::RouteFraming framing;
  modules::Run run;
  Act act;
};

// What the modules have registered. The prefixes of one framing do not begin each other. A
// command's is its name.
const std::vector<Part>& parts();
const Part* part_of(modules::RouteFraming framing, std::string_view bytes);
// Of an HTTP request of that method, for that path; a HEAD goes to a GET that is closer.
const Part* http_part_of(const std::string& method, const std::string& path);
const Part* command_part_of(std::string_view name);
// A route's handler that gives no answer.
inline bool fails(const Part& part) {
  return part.act == Act::kFail || part.act == Act::kStreamFail;
}
inline bool defers(const Part& part) {
  return part.act == Act::kDefer || part.act == Act::kMoveDefer;
}
// The body of the reply to that request, when its handler has its way.
std::string answer_to(const Part& part, std::string_view bytes);

// Of each command.
inline constexpr size_t kArgumentsMax = 4;
size_t arguments_min(const Part& part);

// What a command makes of its arguments.
struct Value {
  const Part* part = nullptr;
  size_t count = 0;
  uint32_t hash = 0;
};
// `arguments`: without the name.
Value value_of(const Part& part, std::span<const wire::Text> arguments);
// The reply with it; with the error, if the command fails.
std::string answer_to(const Value& value, wire::ValueForm form);
std::string error_text(std::string_view code, std::string_view message, wire::ValueForm form);

// Replies that were deferred, the oldest first.
struct Shelved {
  hrmr_reply* reply = nullptr;
  std::string text;            // that is not written yet
  std::optional<Value> value;  // there: instead
  bool streams = false;
};
struct Shelf {
  std::deque<Shelved> replies;
  bool completes_at_once = false;

  void put(Shelved shelved);
  void answer(bool newest);
  void send_piece();  // of the oldest
  void drop();
};

class Generation {
 public:
  Generation(uint64_t number, Shelf& shelf, bool has_raw);

  modules::Module& module() { return module_; }
  std::vector<modules::RouteTable::Entry> entries(modules::RouteMark mark) const;

 private:
  struct Role {
    const Part* part;
    Shelf* shelf;
  };
  static int handle(const hrmr_request* request, hrmr_reply* reply, void* context);
  static int call(const hrmr_call* call, hrmr_reply* reply, void* context);

  modules::Module module_;
  std::vector<std::unique_ptr<Role>> roles_;
  std::vector<std::unique_ptr<modules::Route>> routes_;
};

}  // namespace hrmr::fuzz
