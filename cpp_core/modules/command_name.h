// Names of commands: what they may be, and which ones are HRMR's own.
//
// Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace hrmr::modules {

// An HTTP request that begins so is the call of a command.
inline constexpr std::string_view kCallPrefix = "POST /call/";

// In capitals, as names are kept and compared.
std::string command_name(std::string_view name);

// `name` in capitals. Answered by the server itself: the words of connections and of
// administration.
bool is_built_in_command(std::string_view name);

// Whether a module may register that name, which is in capitals.
Status check_command_name(std::string_view name);

}  // namespace hrmr::modules
