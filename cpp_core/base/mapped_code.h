// Which file the code at an address came from, and of which module and generation it is; asked
// inside a signal handler.
//
// The answer is the kernel's, read from /proc/self/maps: dladdr takes the loader's lock, and a
// table that we kept ourselves would not know a library yet whose constructor crashes, nor
// libraries that are not ours.
//
// Threads: any; nothing is kept.
#pragma once

#include <climits>
#include <cstdint>
#include <string_view>

namespace hrmr {

struct MappedCode {
  char path[PATH_MAX] = {};  // empty: it is not from a file
  uint64_t file_offset = 0;  // of the address
  bool is_executable = false;
};

// False: nothing is mapped there.
bool find_mapped_code(uint64_t address, MappedCode& found);

// The module whose private copy a path is (see modules/private_folder.h and the paths that
// ModuleRegistry makes: "hrmr-XXXXXX/NAME.gGENERATION.so", with ".FAILURES" before the suffix when
// loads have failed).
struct PrivateCopy {
  std::string_view module;  // empty: it is none
  uint64_t generation = 0;
};
PrivateCopy private_copy_at(std::string_view path);

}  // namespace hrmr
