// PlaceScanner: which module files there are now.
//
// A place is a folder, whose regular files (also through symbolic links) with a suffix of one of
// the loaders are modules, or one such file. So are folders that hold a loader's package_file.
// Names that begin with '.' or '_' are skipped.
//
// Threads: the reload thread.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "modules/loader.h"
#include "modules/sources.h"

namespace hrmr::modules {

struct FoundModule {
  std::string name;
  std::string path;  // of a package its folder; empty: a module without a file
  Loader* loader = nullptr;
  size_t place = 0;  // index of the place it was found in
  FileStamp stamp;
  // The stamp is old enough that any later write must change it; a clock tick is some milliseconds.
  bool is_settled = false;
  uint64_t revision = 0;  // of a module without a file
  std::string fault;      // why it cannot be loaded; empty: nothing is known to be wrong
};

using FoundModules = std::map<std::string, FoundModule, std::less<>>;

struct ScanResult {
  FoundModules modules;                        // of equal names the one of the last place
  std::map<size_t, std::string> place_faults;  // places that are there but cannot be read, and why
};

// Whether a module may have that name: 1 to 64 letters, digits, '-' and '_'.
bool is_module_name(std::string_view name);

class PlaceScanner {
 public:
  // Places may end in '/'. Loaders outlive the scanner.
  PlaceScanner(std::vector<std::string> places, std::vector<Loader*> loaders, Log& log);

  ScanResult scan();
  // "modules, more/x.so", for messages.
  std::string shown_places() const;

 private:
  void scan_folder(size_t place, ScanResult& result);
  void add_file(size_t place, const std::string& path, FoundModules& found) const;
  static void add_package(size_t place, const std::string& path, Loader& loader,
                          FoundModules& found);
  Loader* loader_of(const std::string& path) const;
  Loader* loader_of_package(const std::string& folder) const;
  void warn_once(size_t place, std::string why);

  std::vector<std::string> places_;
  std::vector<Loader*> loaders_;
  Log& log_;
  std::set<size_t> warned_;  // places that a warning was given for
};

}  // namespace hrmr::modules
