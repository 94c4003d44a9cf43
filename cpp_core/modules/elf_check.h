// What can be told about a shared library before it is mapped: that it is whole, made for this
// machine, and can be unloaded again.
//
// dlopen maps what the headers promise and only then touches it, so a file that is still being
// written kills the process with SIGBUS. That is why a file is checked first.
//
// Threads: any; pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace hrmr::modules {

// Whether `bytes`, the whole file, may be given to dlopen. The message begins with `shown_path`.
Status check_elf(std::string_view bytes, std::string_view shown_path);

// Why dlclose does, or may, leave this library mapped, one sentence part per reason, joined by
// "; ". Empty: no reason known. `bytes` have passed check_elf.
std::string reasons_to_stay_mapped(std::string_view bytes);

// Whether the library defines SQLite instead of using that of the system. Two copies in one process
// do not know of each other's locks, and POSIX drops all locks that a process has on a file when it
// closes any descriptor of it. False too for a copy that was hidden and then stripped.
bool has_own_sqlite(std::string_view bytes);

}  // namespace hrmr::modules
