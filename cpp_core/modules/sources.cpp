#include "modules/sources.h"

#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "base/limits.h"

namespace hrmr::modules {

namespace {

// The files of a module, sorted, and their stamp.
struct Listing {
  std::vector<std::string> paths;
  FileStamp stamp;
  bool operator==(const Listing&) const = default;
};

int64_t nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1000000000 + time.tv_nsec;
}

// FNV-1a. Nobody gains by a collision: a module's author can change the module as it is.
class Digest {
 public:
  void add(std::string_view bytes) {
    for (const char c : bytes) {
      value_ = (value_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    }
  }
  void add(const FileStamp& stamp) {
    for (const uint64_t field :
         {stamp.device, stamp.inode, static_cast<uint64_t>(stamp.size_bytes),
          static_cast<uint64_t>(stamp.modified_ns), static_cast<uint64_t>(stamp.changed_ns)}) {
      add({reinterpret_cast<const char*>(&field), sizeof field});
    }
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325u;
};

class PackageWalk {
 public:
  PackageWalk(const std::string& folder, std::string_view suffix)
      : folder_(folder), suffix_(suffix) {}

  Result<Listing> run() {
    struct stat status {};
    if (::stat(folder_.c_str(), &status) != 0) return errno_status("read", folder_);
    listing_.stamp.device = status.st_dev;
    listing_.stamp.inode = status.st_ino;
    const Status walked = walk(folder_, 1);
    if (!walked.is_ok()) return walked;
    listing_.stamp.files = digest_.value();
    return std::move(listing_);
  }

 private:
  Status walk(const std::string& folder, size_t depth) {
    if (depth > limits::kPackageDepthMax) {
      return refuse("is nested deeper than " + std::to_string(limits::kPackageDepthMax) +
                    " folders");
    }
    Result<std::vector<std::string>> names = names_in(folder);
    if (!names.is_ok()) return names.status();
    for (const std::string& name : names.value()) {
      const Status added = add(std::string(folder).append("/").append(name), depth);
      if (!added.is_ok()) return added;
    }
    return Status::ok();
  }

  // Those that may be sources or lead to some; sorted.
  Result<std::vector<std::string>> names_in(const std::string& folder) const {
    const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(folder.c_str()), ::closedir);
    if (opened == nullptr) return errno_status("read", folder);
    std::vector<std::string> names;
    errno = 0;
    for (const dirent* entry = nullptr; (entry = ::readdir(opened.get())) != nullptr; errno = 0) {
      const std::string name = entry->d_name;
      if (name.front() == '.' || name == "__pycache__") continue;
      if (entry->d_type != DT_REG || name.ends_with(suffix_)) names.push_back(name);
    }
    if (errno != 0) return errno_status("read", folder);
    std::sort(names.begin(), names.end());
    return names;
  }

  Status add(const std::string& path, size_t depth) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0) {
      // Gone since it was listed; or a link to nowhere, such as editors use as locks.
      return errno == ENOENT ? Status::ok() : errno_status("read", path);
    }
    const bool is_folder = S_ISDIR(status.st_mode);
    if (!is_folder && (!S_ISREG(status.st_mode) || !path.ends_with(suffix_))) return Status::ok();
    if (++entries_ > limits::kPackageFilesMax) {
      return refuse("has more than " + std::to_string(limits::kPackageFilesMax) +
                    " files and folders");
    }
    return is_folder ? walk(path, depth + 1) : add_file(path, stamp_of(status));
  }

  Status add_file(const std::string& path, const FileStamp& stamp) {
    listing_.stamp.size_bytes += stamp.size_bytes;
    if (listing_.stamp.size_bytes > limits::kPackageBytesMax) {
      return refuse("has more than " + std::to_string(limits::kPackageBytesMax) + " bytes");
    }
    listing_.stamp.modified_ns = std::max(listing_.stamp.modified_ns, stamp.modified_ns);
    listing_.stamp.changed_ns = std::max(listing_.stamp.changed_ns, stamp.changed_ns);
    digest_.add(path);
    digest_.add(stamp);
    listing_.paths.push_back(path);
    return Status::ok();
  }

  Status refuse(const std::string& why) const {
    return Status::error(folder_ + " is no package that can be loaded: it " + why);
  }

  const std::string& folder_;
  std::string_view suffix_;
  Listing listing_;
  Digest digest_;
  size_t entries_ = 0;
};

Result<Listing> list(const std::string& path, std::string_view suffix) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return errno_status("read", path);
  if (S_ISDIR(status.st_mode)) return PackageWalk(path, suffix).run();
  return Listing{{path}, stamp_of(status)};
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return errno_status("open", path);
  std::ostringstream content;
  content << file.rdbuf();
  if (file.bad()) return errno_status("read", path);
  return std::move(content).str();
}

Result<Sources> read_listed(const Listing& listing) {
  Sources sources;
  for (const std::string& path : listing.paths) {
    Result<std::string> content = read_file(path);
    if (!content.is_ok()) return content.status();
    sources[path] = content.take();
  }
  return sources;
}

}  // namespace

FileStamp stamp_of(const struct stat& status) {
  return {status.st_dev,
          status.st_ino,
          status.st_size,
          nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim),
          0};
}

Result<FileStamp> read_package_stamp(const std::string& folder, std::string_view suffix) {
  Result<Listing> listing = PackageWalk(folder, suffix).run();
  if (!listing.is_ok()) return listing.status();
  return listing.value().stamp;
}

bool read_stamp(const std::string& path, FileStamp& stamp, std::string_view suffix) {
  const Result<Listing> listing = list(path, suffix);
  if (!listing.is_ok()) return false;
  stamp = listing.value().stamp;
  return true;
}

Result<Sources> read_sources(const std::string& path, std::string_view suffix) {
  for (int reads = 0; reads < limits::kSourceReadsMax; ++reads) {
    const Result<Listing> before = list(path, suffix);
    if (!before.is_ok()) return before.status();
    Result<Sources> sources = read_listed(before.value());
    const Result<Listing> after = list(path, suffix);
    if (after.is_ok() && after.value() == before.value()) return sources;
  }
  return Status::error(path + " does not stop changing while it is read");
}

}  // namespace hrmr::modules
