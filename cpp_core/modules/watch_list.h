// WatchList: the files that modules are made of, and the folders where a change of them shows.
//
// Besides the places themselves these are the folders within packages (`NAME/` with an
// `__init__.py`), those that a linked module file leads through, and all folders above a place: a
// place that is not there yet, that is moved away, or that is reached through a link which is
// pointed elsewhere, is noticed there.
//
// Threads: any; a value.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "modules/inotify.h"
#include "modules/scan.h"

namespace hrmr::modules {

struct WatchedFile {
  std::string module;
  FileStamp stamp;
  std::string target;  // of a link: the file at its end
  bool operator==(const WatchedFile&) const = default;
};

struct WatchedFolder {
  FolderId id;
  bool is_place = false;
  std::set<std::string> packages;                        // modules that the files in it are part of
  std::map<std::string, std::set<std::string>> targets;  // by entry: modules that it is a file of
  std::set<std::string> steps;  // entries on the way to a place or a linked file
};

class WatchList {
 public:
  // `suffixes`: those of module files, ".so".
  static WatchList make(const std::vector<std::string>& places,
                        const std::vector<std::string>& suffixes);

  bool has_module(const std::string& name) const { return modules_.contains(name); }
  const std::map<std::string, WatchedFile>& files() const { return files_; }
  const std::map<std::string, WatchedFolder>& folders() const { return folders_; }
  bool is_cut() const { return is_cut_; }  // there are more folders than kWatchedFoldersMax

  // The modules that an entry of a watched folder is a file of, if it is one.
  std::set<std::string> modules_of(const std::string& folder, const std::string& entry) const;
  // Whether a change of that entry may change the list of folders.
  bool is_structure(const std::string& folder, const std::string& entry) const;

 private:
  void add_place(const std::string& place);
  void add_folder_place(const std::string& place);
  void add_module_file(const std::string& path, const std::string& module);
  void add_package(const std::string& folder, const std::string& module, size_t depth);
  std::string add_links(std::string path, const std::string& module);
  void add_steps(const std::string& target);
  WatchedFolder* folder_at(const std::string& path);
  std::string_view suffix_of(std::string_view entry) const;

  std::vector<std::string> suffixes_;
  std::map<std::string, WatchedFile> files_;  // by path
  std::map<std::string, WatchedFolder> folders_;
  std::set<std::string> modules_;
  bool is_cut_ = false;
};

}  // namespace hrmr::modules
