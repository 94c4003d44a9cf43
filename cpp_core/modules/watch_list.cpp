#include "modules/watch_list.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "base/limits.h"

namespace hrmr::modules {

namespace {

constexpr std::string_view kPackageFile = "__init__.py";
constexpr std::string_view kPackageSuffix = ".py";

std::string join(const std::string& folder, const std::string& entry) {
  return folder == "/" ? folder + entry : folder + "/" + entry;
}

// "/a/b" of "/a/b/c"; "/" of "/a".
std::string parent_of(const std::string& path) {
  return path.rfind('/') == 0 ? "/" : path.substr(0, path.rfind('/'));
}

std::string entry_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Absolute, and without "//", "." and a '/' at its end. A ".." stays where it is, as what is before
// it may be a link.
std::string clean(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  std::string cleaned;
  for (const std::filesystem::path& part : absolute.relative_path()) {
    if (!part.empty() && part != ".") cleaned += "/" + part.string();
  }
  return cleaned.empty() ? "/" : cleaned;
}

std::vector<std::string> entries_of(const std::string& folder) {
  std::vector<std::string> entries;
  const std::unique_ptr<DIR, int (*)(DIR*)> opened(::opendir(folder.c_str()), ::closedir);
  if (opened == nullptr) return entries;
  while (const dirent* entry = ::readdir(opened.get())) entries.emplace_back(entry->d_name);
  return entries;
}

bool is_hidden(const std::string& entry) { return entry.front() == '.' || entry.front() == '_'; }

// In packages names like `_private.py` count.
bool is_outside_package(const std::string& entry) {
  return entry.front() == '.' || entry == "__pycache__";
}

}  // namespace

WatchList WatchList::make(const std::vector<std::string>& places,
                          const std::vector<std::string>& suffixes) {
  WatchList list;
  list.suffixes_ = suffixes;
  for (const std::string& place : places) list.add_place(clean(place));
  return list;
}

void WatchList::add_place(const std::string& place) {
  add_steps(place);
  struct stat status {};
  if (::stat(place.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    add_folder_place(place);
  } else {
    const std::string entry = entry_of(place);
    const std::string module = entry.substr(0, entry.size() - suffix_of(entry).size());
    WatchedFolder* const folder = folder_at(parent_of(place));
    if (folder != nullptr) folder->targets[entry].insert(module);
    add_module_file(place, module);
  }
}

void WatchList::add_folder_place(const std::string& place) {
  WatchedFolder* folder = folder_at(place);
  if (folder == nullptr) return;
  folder->is_place = true;
  const bool has_packages =
      std::find(suffixes_.begin(), suffixes_.end(), kPackageSuffix) != suffixes_.end();
  for (const std::string& entry : entries_of(place)) {
    if (is_hidden(entry)) continue;
    const std::string path = join(place, entry);
    const std::string_view suffix = suffix_of(entry);
    struct stat status {};
    if (!suffix.empty()) {
      add_module_file(path, entry.substr(0, entry.size() - suffix.size()));
    } else if (has_packages && is_module_name(entry) && ::stat(path.c_str(), &status) == 0 &&
               S_ISDIR(status.st_mode)) {
      add_links(path, entry);
      add_package(path, entry, 0);
    }
  }
}

// A link that leads nowhere is a file too: its module is there, and fails.
void WatchList::add_module_file(const std::string& path, const std::string& module) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return;
  std::string target;
  if (S_ISLNK(status.st_mode)) {
    target = add_links(path, module);
    struct stat end {};
    if (::stat(path.c_str(), &end) == 0) status = end;
  }
  if (S_ISDIR(status.st_mode)) return;
  files_[path] = {module, stamp_of(status), std::move(target)};
  modules_.insert(module);
}

// Without its __init__.py a folder is no package, but may become one.
void WatchList::add_package(const std::string& folder, const std::string& module, size_t depth) {
  struct stat status {};
  const bool is_top = depth == 0;
  if (is_top && ::stat(join(folder, std::string(kPackageFile)).c_str(), &status) != 0) {
    if (WatchedFolder* top = folder_at(folder)) top->packages.insert(module);
    return;
  }
  WatchedFolder* const watched = folder_at(folder);
  if (watched == nullptr) return;
  watched->packages.insert(module);
  for (const std::string& entry : entries_of(folder)) {
    const std::string path = join(folder, entry);
    if (is_outside_package(entry) || ::lstat(path.c_str(), &status) != 0) continue;
    if (S_ISDIR(status.st_mode)) {
      if (depth < limits::kPackageDepthMax) add_package(path, module, depth + 1);
    } else if (!suffix_of(entry).empty()) {
      add_module_file(path, module);
    }
  }
}

// Where each link on the way from `path` lies, and what is at the end, which is returned; and what
// leads there.
std::string WatchList::add_links(std::string path, const std::string& module) {
  for (int links = 0; links < limits::kLinksMax; ++links) {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::read_symlink(path, error);
    if (error) break;
    path = clean(target.is_absolute() ? target.string() : join(parent_of(path), target.string()));
    add_steps(path);
    if (WatchedFolder* folder = folder_at(parent_of(path))) {
      folder->targets[entry_of(path)].insert(module);
    }
  }
  return path;
}

void WatchList::add_steps(const std::string& target) {
  for (std::string path = target; path != "/"; path = parent_of(path)) {
    if (WatchedFolder* folder = folder_at(parent_of(path))) folder->steps.insert(entry_of(path));
  }
}

// Null: it is not there, or is one too many.
WatchedFolder* WatchList::folder_at(const std::string& path) {
  const auto known = folders_.find(path);
  if (known != folders_.end()) return &known->second;
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return nullptr;
  if (folders_.size() >= limits::kWatchedFoldersMax) {
    is_cut_ = true;
    return nullptr;
  }
  WatchedFolder& added = folders_[path];
  added.id = {status.st_dev, status.st_ino};
  return &added;
}

std::string_view WatchList::suffix_of(std::string_view entry) const {
  for (const std::string& suffix : suffixes_) {
    if (entry.size() > suffix.size() && entry.ends_with(suffix)) return suffix;
  }
  return {};
}

std::set<std::string> WatchList::modules_of(const std::string& folder,
                                            const std::string& entry) const {
  std::set<std::string> modules;
  const auto found = folders_.find(folder);
  if (found == folders_.end() || entry.empty()) return modules;
  const std::string_view suffix = suffix_of(entry);
  if (!suffix.empty()) {
    if (found->second.is_place && !is_hidden(entry)) {
      modules.insert(entry.substr(0, entry.size() - suffix.size()));
    }
    if (!is_outside_package(entry)) modules.merge(std::set(found->second.packages));
  }
  const auto targets = found->second.targets.find(entry);
  if (targets != found->second.targets.end()) modules.merge(std::set(targets->second));
  return modules;
}

bool WatchList::is_structure(const std::string& folder, const std::string& entry) const {
  const auto found = folders_.find(folder);
  if (found == folders_.end() || entry.empty()) return true;
  const WatchedFolder& watched = found->second;
  if (watched.steps.contains(entry)) return true;
  // What is no module file may be a package's folder, or a link on the way to a file. Links and
  // `..data` folders, as Kubernetes swaps them, are hidden.
  if (watched.is_place) return suffix_of(entry).empty();
  return !watched.packages.empty() && suffix_of(entry).empty() && !is_outside_package(entry);
}

}  // namespace hrmr::modules
