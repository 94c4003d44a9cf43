#include "server/built_in.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace hrmr::server {
namespace {

constexpr std::array<BuiltIn, 17> kBuiltIns = {{
    {"AUTH", -2, run_auth, "connection", "Authenticates the connection"},
    {"CLIENT", -2, run_client, "connection", "Names and lists connections, and their replies"},
    {"CLOSE", 1, nullptr, "connection", "Closes the connection"},
    {"CLUSTER", -2, run_cluster, "server", "Refused: there is no cluster"},
    {"COMMAND", -1, run_command_command, "server", "Tells about commands"},
    {"CONFIG", -2, run_config, "server", "Reads the settings that clients ask for"},
    {"DBSIZE", 1, run_dbsize, "server", "Returns 0: there are no keys"},
    {"ECHO", 2, run_echo, "connection", "Returns its argument"},
    {"HELLO", -1, run_hello, "connection", "Handshakes: RESP2 or RESP3, AUTH, SETNAME"},
    {"INFO", -1, run_info, "server", "Returns statistics of the server"},
    {"MODULE", -2, run_module, "server", "Lists the loaded modules"},
    {"PING", -1, run_ping, "connection", "Returns PONG, or its argument"},
    {"QUIT", -1, run_quit, "connection", "Closes the connection"},
    {"RELOAD", -1, nullptr, "server", "Reloads the modules that have changed, or those named"},
    {"RESET", 1, run_reset, "connection", "Makes the connection as new"},
    {"SELECT", 2, run_select, "connection", "Takes database 0, the only one"},
    {"SHUTDOWN", -1, nullptr, "server", "Answers what is under way, and ends the server"},
}};

// What an error may show of what a client sent.
constexpr size_t kShownBytes = 128;

std::string_view cut(std::string_view text, size_t bytes) {
  // As C has it: Redis prints its arguments with %s.
  return text.substr(0, std::min(bytes, text.find('\0')));
}

}  // namespace

bool BuiltInCall::is(size_t index, std::string_view word) const {
  return equals_ignoring_case(argument(index), word);
}

const BuiltIn* find_built_in(std::string_view name) {
  const auto found = std::find_if(kBuiltIns.begin(), kBuiltIns.end(), [name](const BuiltIn& each) {
    return equals_ignoring_case(each.name, name);
  });
  return found == kBuiltIns.end() ? nullptr : &*found;
}

std::span<const BuiltIn> built_ins() { return kBuiltIns; }

std::string unknown_command_text(const std::vector<wire::Text>& arguments) {
  std::string text = "unknown command '";
  text.append(cut(arguments[0], kShownBytes)).append("', with args beginning with: ");
  std::string shown;
  for (size_t i = 1; i < arguments.size() && shown.size() < kShownBytes; ++i) {
    const std::string_view part = cut(arguments[i], kShownBytes - shown.size());
    shown.append("'").append(part).append("' ");
  }
  return text + shown;
}

void refuse_subcommand(BuiltInCall& call) {
  std::string name(call.argument(0));
  std::transform(name.begin(), name.end(), name.begin(), ascii_upper);
  std::string text = "unknown subcommand '";
  text.append(cut(call.argument(1), kShownBytes)).append("'. Try ").append(name).append(" HELP.");
  call.value.error({}, text);
}

bool check_subcommand_count(BuiltInCall& call, size_t min, size_t max) {
  if (call.count() >= min && call.count() <= max) return true;
  const std::string name = std::string(call.argument(0)) + "|" + std::string(call.argument(1));
  call.value.error({}, wrong_arity_text(name));
  return false;
}

}  // namespace hrmr::server
