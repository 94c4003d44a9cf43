// The commands with which Redis clients open and look after their connection: HELLO, AUTH, CLIENT,
// PING, ECHO, SELECT, RESET, QUIT.
#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "server/built_in.h"
#include "server/client_list.h"
#include "server/dispatcher.h"

namespace hrmr::server {
namespace {

constexpr const char* kBadName =
    "Client names cannot contain spaces, newlines or special characters.";
constexpr const char* kLongName = "Client names cannot be longer than 1024 bytes.";
static_assert(limits::kClientNameBytesMax == 1024);
// The version of Redis whose protocol this is: clients choose by it what they ask for.
constexpr std::string_view kRedisVersion = "7.0.15";

// What Redis lets a client call itself: visible ASCII, because CLIENT LIST separates by spaces.
bool is_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= '!' && c <= '~'; });
}

// False: what is wrong is answered.
bool check_name(BuiltInCall& call, std::string_view name) {
  if (is_name(name) && name.size() <= limits::kClientNameBytesMax) return true;
  call.value.error({}, is_name(name) ? kLongName : kBadName);
  return false;
}

bool read_integer(std::string_view text, int64_t& number) {
  const char* const end = text.data() + text.size();
  const std::from_chars_result result = std::from_chars(text.data(), end, number);
  return result.ec == std::errc() && result.ptr == end;
}

// ------------------------------------------------------------------------------------ passwords

struct Refusal {
  std::string_view code;  // empty: it is let in
  std::string_view message;
};

// Whether that user may enter with that password, which is the admin token. Without a token any
// password of the default user is good, as in a Redis without `requirepass`. After too many wrong
// ones the connection is closed.
Refusal check_password(BuiltInCall& call, std::string_view user, std::string_view password) {
  constexpr Refusal kWrong = {"WRONGPASS", "invalid username-password pair or user is disabled."};
  switch (call.dispatcher.authenticate(call.stream, user, password)) {
    case Authenticated::kGranted:
      return {};
    case Authenticated::kNoTokenSet:
      return user == "default" ? Refusal() : kWrong;
    case Authenticated::kWrongAndCloses:
      call.reply.close_after();
      return kWrong;
    default:
      return kWrong;
  }
}

}  // namespace

void run_auth(BuiltInCall& call) {
  if (call.count() > 3) {
    call.value.error({}, "syntax error");
    return;
  }
  if (call.count() == 2 && !call.dispatcher.has_token()) {
    call.value.error({},
                     "AUTH <password> called without any password configured for the default "
                     "user. Are you sure your configuration is correct?");
    return;
  }
  const std::string_view user = call.count() == 3 ? call.argument(1) : "default";
  const Refusal refusal = check_password(call, user, call.argument(call.count() - 1));
  if (refusal.code.empty()) {
    call.value.simple("OK");
  } else {
    call.value.error(refusal.code, refusal.message);
  }
}

void run_ping(BuiltInCall& call) {
  if (call.count() > 2) {
    call.value.error({}, wrong_arity_text("ping"));
  } else if (call.count() == 2) {
    call.value.bulk(call.argument(1));
  } else {
    call.value.simple("PONG");
  }
}

void run_echo(BuiltInCall& call) { call.value.bulk(call.argument(1)); }

void run_select(BuiltInCall& call) {
  int64_t index = 0;
  if (!read_integer(call.argument(1), index)) {
    call.value.error({}, "value is not an integer or out of range");
  } else if (index != 0) {
    call.value.error({}, "DB index is out of range");
  } else {
    call.value.simple("OK");
  }
}

void run_quit(BuiltInCall& call) {
  call.value.simple("OK");
  call.reply.close_after();
}

void run_reset(BuiltInCall& call) {
  Session& session = call.stream.session;
  session.is_resp3 = false;
  // Only of OFF, as Redis: the reply that a SKIP takes may be this one.
  if (session.silence == Session::Silence::kAll) call.reply.set_silent(false);
  session.silence = Session::Silence::kNone;
  call.stream.has_shown_token = false;
  if (session.names != nullptr) session.names->name.clear();
  call.value.simple("RESET");
}

// ----------------------------------------------------------------------------------------- HELLO

namespace {

struct Greeting {
  int64_t version = 0;  // 0: as before
  std::string_view user;
  std::string_view password;
  std::string_view name;
  bool has_password = false;
  bool has_name = false;
};

// False: what is wrong is answered.
bool read_greeting(BuiltInCall& call, Greeting& greeting) {
  if (call.count() > 1) {
    if (!read_integer(call.argument(1), greeting.version)) {
      call.value.error({}, "Protocol version is not an integer or out of range");
      return false;
    }
    if (greeting.version != 2 && greeting.version != 3) {
      call.value.error("NOPROTO", "unsupported protocol version");
      return false;
    }
  }
  for (size_t i = 2; i < call.count(); ++i) {
    const size_t left = call.count() - i - 1;
    if (call.is(i, "AUTH") && left >= 2) {
      greeting.has_password = true;
      greeting.user = call.argument(i + 1);
      greeting.password = call.argument(i + 2);
      i += 2;
    } else if (call.is(i, "SETNAME") && left >= 1) {
      greeting.has_name = true;
      greeting.name = call.argument(++i);
    } else {
      const std::string option(call.argument(i));
      call.value.error({}, "Syntax error in HELLO option '" + option + "'");
      return false;
    }
  }
  return !greeting.has_name || check_name(call, greeting.name);
}

}  // namespace

void run_hello(BuiltInCall& call) {
  Greeting greeting;
  if (!read_greeting(call, greeting)) return;
  Session& session = call.stream.session;
  if (greeting.has_password) {
    const Refusal refusal = check_password(call, greeting.user, greeting.password);
    if (!refusal.code.empty()) {
      call.value.error(refusal.code, refusal.message);
      return;
    }
  }
  if (greeting.has_name) session.own_names().name = greeting.name;
  if (greeting.version != 0) session.is_resp3 = greeting.version == 3;
  // This answer is the first in the new form.
  wire::ValueWriter value(call.reply, session.form());
  value.begin_map(7);
  value.bulk("server");
  value.bulk("redis");
  value.bulk("version");
  value.bulk(kRedisVersion);
  value.bulk("proto");
  value.integer(session.is_resp3 ? 3 : 2);
  value.bulk("id");
  value.integer(static_cast<int64_t>(session.id));
  value.bulk("mode");
  value.bulk("standalone");
  value.bulk("role");
  value.bulk("master");
  value.bulk("modules");
  put_modules(value, call.control);
}

// ---------------------------------------------------------------------------------------- CLIENT

namespace {

// Types of connection that Redis has; here all are normal ones.
bool is_other_type(const BuiltInCall& call) {
  constexpr std::string_view kTypes[] = {"MASTER", "REPLICA", "SLAVE", "PUBSUB"};
  return std::any_of(std::begin(kTypes), std::end(kTypes),
                     [&](std::string_view type) { return call.is(3, type); });
}

// False: what is wrong is answered.
bool read_filter(BuiltInCall& call, ClientFilter& filter) {
  filter.is_all = call.count() == 2;
  if (call.count() > 3 && call.is(2, "ID")) {
    for (size_t i = 3; i < call.count(); ++i) {
      int64_t id = 0;
      if (!read_integer(call.argument(i), id)) {
        call.value.error({}, "Invalid client ID");
        return false;
      }
      filter.ids.push_back(id);
    }
    std::sort(filter.ids.begin(), filter.ids.end());
  } else if (call.count() == 4 && call.is(2, "TYPE")) {
    filter.is_all = call.is(3, "NORMAL");
    if (!filter.is_all && !is_other_type(call)) {
      call.value.error({}, "Unknown client type '" + std::string(call.argument(3)) + "'");
      return false;
    }
  } else if (!filter.is_all) {
    call.value.error({}, "syntax error");
    return false;
  }
  return true;
}

void client_info(BuiltInCall& call) {
  if (!check_subcommand_count(call, 2, 2)) return;
  std::string line;
  describe_client(call.stream, call.loop.now_ms(), line);
  call.value.verbatim("txt", line);
}

void client_list(BuiltInCall& call) {
  ClientFilter filter;
  if (read_filter(call, filter)) ClientList::answer(call, std::move(filter));
}

void client_set_name(BuiltInCall& call) {
  if (!check_subcommand_count(call, 3, 3)) return;
  if (!check_name(call, call.argument(2))) return;
  call.stream.session.own_names().name = call.argument(2);
  call.value.simple("OK");
}

void client_set_info(BuiltInCall& call) {
  if (!check_subcommand_count(call, 4, 4)) return;
  const bool is_library = call.is(2, "LIB-NAME");
  if (!is_library && !call.is(2, "LIB-VER")) {
    call.value.error({}, "Unrecognized option '" + std::string(call.argument(2)) + "'");
    return;
  }
  if (!is_name(call.argument(3))) {
    call.value.error({}, std::string(is_library ? "lib-name" : "lib-ver") +
                             " cannot contain spaces, newlines or special characters.");
    return;
  }
  if (!check_name(call, call.argument(3))) return;
  ClientNames& names = call.stream.session.own_names();
  (is_library ? names.library : names.library_version) = call.argument(3);
  call.value.simple("OK");
}

void client_reply(BuiltInCall& call) {
  if (!check_subcommand_count(call, 3, 3)) return;
  Session::Silence& silence = call.stream.session.silence;
  if (call.is(2, "ON")) {
    silence = Session::Silence::kNone;
    call.reply.set_silent(false);
    call.value.simple("OK");
  } else if (call.is(2, "OFF")) {
    silence = Session::Silence::kAll;
    call.reply.set_silent(true);
  } else if (call.is(2, "SKIP")) {
    if (silence != Session::Silence::kAll) silence = Session::Silence::kNext;
    call.reply.set_silent(true);
  } else {
    call.value.error({}, "syntax error");
  }
}

// NO-EVICT, NO-TOUCH: there is nothing to evict or to touch.
void client_switch(BuiltInCall& call) {
  if (!check_subcommand_count(call, 3, 3)) return;
  if (call.is(2, "ON") || call.is(2, "OFF")) {
    call.value.simple("OK");
  } else {
    call.value.error({}, "syntax error");
  }
}

}  // namespace

void run_client(BuiltInCall& call) {
  const Session& session = call.stream.session;
  if (call.is(1, "ID")) {
    if (check_subcommand_count(call, 2, 2)) call.value.integer(static_cast<int64_t>(session.id));
  } else if (call.is(1, "GETNAME")) {
    if (!check_subcommand_count(call, 2, 2)) return;
    const bool has_name = session.names != nullptr && !session.names->name.empty();
    (void)(has_name ? call.value.bulk(session.names->name) : call.value.nil());
  } else if (call.is(1, "SETNAME")) {
    client_set_name(call);
  } else if (call.is(1, "SETINFO")) {
    client_set_info(call);
  } else if (call.is(1, "INFO")) {
    client_info(call);
  } else if (call.is(1, "LIST")) {
    client_list(call);
  } else if (call.is(1, "REPLY")) {
    client_reply(call);
  } else if (call.is(1, "NO-EVICT") || call.is(1, "NO-TOUCH")) {
    client_switch(call);
  } else {
    refuse_subcommand(call);
  }
}

}  // namespace hrmr::server
