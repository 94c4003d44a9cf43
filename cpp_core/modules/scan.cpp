#include "modules/scan.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/limits.h"

namespace hrmr::modules {

namespace {

bool is_settled(const FileStamp& stamp) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t now_ns = int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
  const int64_t settled_ns = now_ns - limits::kFileSettleMs * int64_t{1000000};
  return stamp.modified_ns < settled_ns && stamp.changed_ns < settled_ns;
}

bool is_absent(int code) { return code == ENOENT || code == ENOTDIR; }

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename(); }

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() != '/' ? folder + "/" + name : folder + name;
}

// Of two modules of one name in one place neither is loaded.
void add(FoundModule module, FoundModules& found) {
  if (module.fault.empty() && !is_module_name(module.name)) {
    module.fault = module.path + ": a module's name is 1 to " +
                   std::to_string(limits::kModuleNameBytesMax) +
                   " letters, digits, '-' and '_'; rename the file";
  }
  const std::string path = module.path;
  const std::string name = module.name;
  const auto [other, is_new] = found.try_emplace(name, std::move(module));
  if (is_new) return;
  // Sorted, because the order in which a folder is read means nothing.
  const auto [first, second] = std::minmax(other->second.path, path);
  other->second.fault =
      "both " + first + " and " + second + " are module " + name + ": remove one of them";
}

}  // namespace

bool is_module_name(std::string_view name) {
  if (name.empty() || name.size() > limits::kModuleNameBytesMax) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

PlaceScanner::PlaceScanner(std::vector<std::string> places, std::vector<Loader*> loaders, Log& log)
    : places_(std::move(places)), loaders_(std::move(loaders)), log_(log) {}

ScanResult PlaceScanner::scan() {
  ScanResult result;
  for (size_t place = 0; place < places_.size(); ++place) {
    struct stat status {};
    if (::stat(places_[place].c_str(), &status) != 0) {
      const int code = errno;
      std::string why = "cannot read " + places_[place] + ": " + std::strerror(code);
      if (is_absent(code)) continue;  // an empty place, until somebody makes it
      result.place_faults[place] = why;
      warn_once(place, std::move(why));
      continue;
    }
    if (S_ISDIR(status.st_mode)) {
      scan_folder(place, result);
    } else {
      FoundModules found;
      add_file(place, places_[place], found);
      for (auto& [name, module] : found) result.modules[name] = std::move(module);
    }
  }
  return result;
}

void PlaceScanner::scan_folder(size_t place, ScanResult& result) {
  const std::string& folder = places_[place];
  const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(folder.c_str()), ::closedir);
  if (opened == nullptr) {
    result.place_faults[place] = "cannot read " + folder + ": " + std::strerror(errno);
    warn_once(place, result.place_faults[place]);
    return;
  }
  FoundModules found;
  errno = 0;
  for (const dirent* entry = nullptr; (entry = ::readdir(opened.get())) != nullptr; errno = 0) {
    const std::string name = entry->d_name;
    if (name.front() == '.' || name.front() == '_') continue;
    const std::string path = join(folder, name);
    if (loader_of(path) != nullptr) {
      add_file(place, path, found);
    } else if (entry->d_type != DT_REG) {
      Loader* const loader = loader_of_package(path);
      if (loader != nullptr) add_package(place, path, *loader, found);
    }
  }
  if (errno != 0) {
    // What was not listed is not gone: what is loaded from here stays.
    result.place_faults[place] = "cannot read " + folder + ": " + std::strerror(errno);
    warn_once(place, result.place_faults[place]);
  }
  for (auto& [name, module] : found) result.modules[name] = std::move(module);
}

void PlaceScanner::add_file(size_t place, const std::string& path, FoundModules& found) const {
  FoundModule module;
  module.path = path;
  module.place = place;
  module.loader = loader_of(path);
  const size_t suffix_bytes = module.loader == nullptr ? 0 : module.loader->suffix().size();
  module.name = file_name(path);
  module.name.resize(module.name.size() - suffix_bytes);
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int code = errno;
    struct stat link {};
    if (::lstat(path.c_str(), &link) != 0 && is_absent(errno)) return;  // gone since it was listed
    module.fault = "cannot read " + path + ": " + std::strerror(code);
  } else if (!S_ISREG(status.st_mode)) {
    return;
  }
  module.stamp = stamp_of(status);
  module.is_settled = is_settled(module.stamp);
  if (module.loader == nullptr) {
    module.fault = path + " is not a module: nothing loads files with such a suffix";
  }
  add(std::move(module), found);
}

void PlaceScanner::add_package(size_t place, const std::string& path, Loader& loader,
                               FoundModules& found) {
  FoundModule module;
  module.path = path;
  module.place = place;
  module.loader = &loader;
  module.name = file_name(path);
  Result<FileStamp> stamp = read_package_stamp(path, loader.suffix());
  if (stamp.is_ok()) {
    module.stamp = stamp.value();
    module.is_settled = is_settled(module.stamp);
  } else {
    module.fault = stamp.message();
  }
  add(std::move(module), found);
}

Loader* PlaceScanner::loader_of(const std::string& path) const {
  const std::string suffix = std::filesystem::path(path).extension();
  if (suffix.empty()) return nullptr;
  for (Loader* loader : loaders_) {
    if (loader->suffix() == suffix) return loader;
  }
  return nullptr;
}

Loader* PlaceScanner::loader_of_package(const std::string& folder) const {
  for (Loader* loader : loaders_) {
    if (loader->package_file().empty()) continue;
    struct stat status {};
    const std::string file = join(folder, std::string(loader->package_file()));
    if (::stat(file.c_str(), &status) == 0 && S_ISREG(status.st_mode)) return loader;
  }
  return nullptr;
}

void PlaceScanner::warn_once(size_t place, std::string why) {
  if (warned_.insert(place).second) log_.warn("reload", std::move(why));
}

std::string PlaceScanner::shown_places() const {
  std::string shown;
  for (const std::string& place : places_) shown += (shown.empty() ? "" : ", ") + place;
  return shown.empty() ? "no place" : shown;
}

}  // namespace hrmr::modules
