// Generation: a module whose handlers answer what a request is made of, so that each reply tells
// whose it is. They run inline or on a pool, answer at once or defer their reply.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "modules/route_table.h"
#include "server/host_table.h"

namespace hrmr::fuzz {

enum class Act : uint8_t { kSay, kSayMuch, kSayFile, kClose, kDefer, kFail, kStream, kStreamFail };

struct Part {
  const char* prefix;
  modules::RouteFraming framing;
  modules::Run run;
  Act act;
};

// What the modules have registered. The prefixes of one framing do not begin each other.
const std::vector<Part>& parts();
const Part* part_of(modules::RouteFraming framing, std::string_view bytes);
// Of an HTTP request of that method, for that path; a HEAD goes to a GET that is closer.
const Part* http_part_of(const std::string& method, const std::string& path);
// The body of the reply to that request, when its handler has its way.
std::string answer_to(const Part& part, std::string_view bytes);

// Replies that were deferred, the oldest first.
struct Shelved {
  hrmr_reply* reply;
  std::string text;  // that is not written yet
  bool streams = false;
};
struct Shelf {
  std::deque<Shelved> replies;
  bool completes_at_once = false;

  void put(hrmr_reply* reply, std::string text);
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

  modules::Module module_;
  std::vector<std::unique_ptr<Role>> roles_;
  std::vector<std::unique_ptr<modules::Route>> routes_;
};

}  // namespace hrmr::fuzz
