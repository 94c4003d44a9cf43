#include "modules/command_name.h"

#include <algorithm>
#include <array>

#include "base/limits.h"
#include "base/text.h"

namespace hrmr::modules {
namespace {

constexpr std::array<std::string_view, 17> kBuiltIn = {
    "AUTH", "CLIENT", "CLOSE", "CLUSTER", "COMMAND", "CONFIG", "DBSIZE", "ECHO",    "HELLO",
    "INFO", "MODULE", "PING",  "QUIT",    "RELOAD",  "RESET",  "SELECT", "SHUTDOWN"};

bool is_name_char(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._:-").find(c) != std::string_view::npos;
}

}  // namespace

std::string command_name(std::string_view name) {
  std::string capitals(name);
  std::transform(capitals.begin(), capitals.end(), capitals.begin(), ascii_upper);
  return capitals;
}

bool is_built_in_command(std::string_view name) {
  return std::find(kBuiltIn.begin(), kBuiltIn.end(), name) != kBuiltIn.end();
}

Status check_command_name(std::string_view name) {
  const bool is_name = !name.empty() && name.size() <= limits::kCommandNameBytesMax &&
                       std::all_of(name.begin(), name.end(), is_name_char);
  if (!is_name) {
    return Status::error("'" + std::string(name.substr(0, limits::kCommandNameBytesMax)) +
                         "' is no name of a command: 1 to " +
                         std::to_string(limits::kCommandNameBytesMax) +
                         " letters, digits, '.', '_', ':' and '-'");
  }
  if (!is_built_in_command(name)) return Status::ok();
  return Status::error("command '" + std::string(name) + "' belongs to HRMR itself");
}

}  // namespace hrmr::modules
