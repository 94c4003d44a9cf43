// What a module is made from: one file, or a package, which is a folder with all files of one
// suffix in it. Its stamp tells whether it has changed; read_sources takes a snapshot of it.
//
// In a package, names that begin with '.' and `__pycache__` are skipped; links are followed. Its
// files, depth and bytes are bounded (limits.h), so that a folder that was meant for something else
// is refused and not read for minutes.
//
// Threads: the reload thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace hrmr::modules {

// What changes when somebody writes to a file or puts another in its place.
struct FileStamp {
  uint64_t device = 0;
  uint64_t inode = 0;
  int64_t size_bytes = 0;   // of a package: of all files
  int64_t modified_ns = 0;  // of a package: of the youngest file, as is changed_ns
  int64_t changed_ns = 0;
  uint64_t files = 0;  // of a package: a digest of the names and stamps of its files
  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const struct stat& status);

// The stamp of the package, or why it cannot be one.
Result<FileStamp> read_package_stamp(const std::string& folder, std::string_view suffix);

// The stamp of the file, or of what the link leads to; of a folder that of the package. False:
// there is none that can be read. `suffix`: of the files of a package.
bool read_stamp(const std::string& path, FileStamp& stamp, std::string_view suffix = {});

using Sources = std::map<std::string, std::string>;  // content by full path

// All files as they were at one moment: what changes while it is read is read again, and refused
// when it does not come to rest.
Result<Sources> read_sources(const std::string& path, std::string_view suffix);

}  // namespace hrmr::modules
