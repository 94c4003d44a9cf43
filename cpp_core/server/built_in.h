// The commands that the server answers itself: those with which Redis clients open and look after a
// connection, and those that tell about the server. RELOAD, CLOSE and SHUTDOWN are the
// dispatcher's, which knows the same words as lines.
//
// What they answer, errors included, is what Redis 7.0 answers, as far as there is anything to
// tell.
//
// Threads: the loop's.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "modules/route_table.h"
#include "server/options.h"
#include "server/stream.h"
#include "wire/value_writer.h"

namespace hrmr::server {

class Control;
class Dispatcher;

// One call of one of them. What is not answered yet when it returns leaves the stream away.
struct BuiltInCall {
  Stream& stream;
  const std::vector<wire::Text>& arguments;  // the name in front
  wire::ReplyWriter& reply;
  wire::ValueWriter& value;
  const modules::RouteTable& table;
  const Options& options;
  Control& control;
  Dispatcher& dispatcher;
  net::EventLoop& loop;
  const wire::ReplyFacts& facts;  // of the reply

  std::string_view argument(size_t index) const { return arguments[index]; }
  size_t count() const { return arguments.size(); }    // the name included
  bool is(size_t index, std::string_view word) const;  // in any case
};

struct BuiltIn {
  std::string_view name;           // in capitals
  int arity;                       // as Redis counts: with the name; negative: at least so many
  void (*run)(BuiltInCall& call);  // null: the dispatcher's own
  std::string_view group;          // as in COMMAND DOCS
  std::string_view summary;
};

// In any case; null: there is none of that name.
const BuiltIn* find_built_in(std::string_view name);
std::span<const BuiltIn> built_ins();
inline bool fits_arity(int arity, size_t count) {
  return arity >= 0 ? count == static_cast<size_t>(arity) : count >= static_cast<size_t>(-arity);
}

// "unknown command 'x', with args beginning with: 'a' 'b' ", cut as Redis cuts it.
std::string unknown_command_text(const std::vector<wire::Text>& arguments);
// "unknown subcommand 'FOO'. Try CLIENT HELP."
void refuse_subcommand(BuiltInCall& call);
// Whether there are so many arguments, the name and the sub-command included; says so if not.
bool check_subcommand_count(BuiltInCall& call, size_t min, size_t max);

// connection_commands.cpp
void run_auth(BuiltInCall& call);
void run_client(BuiltInCall& call);
void run_echo(BuiltInCall& call);
void run_hello(BuiltInCall& call);
void run_ping(BuiltInCall& call);
void run_quit(BuiltInCall& call);
void run_reset(BuiltInCall& call);
void run_select(BuiltInCall& call);
// server_commands.cpp
void run_cluster(BuiltInCall& call);
void run_command_command(BuiltInCall& call);
void run_config(BuiltInCall& call);
void run_dbsize(BuiltInCall& call);
void run_info(BuiltInCall& call);
void run_module(BuiltInCall& call);
// One map for each module that serves.
void put_modules(wire::ValueWriter& value, Control& control);

}  // namespace hrmr::server
