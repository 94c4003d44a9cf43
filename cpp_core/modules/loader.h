// Loader: turns a file into an Image and its routes. NativeLoader does so for .so files; the Python
// bridge (bind) has one for .py files and one for functions registered by the embedding program.
//
// Threads: the reload thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "modules/module.h"

namespace hrmr::modules {

using ModuleConfig = std::map<std::string, std::string,
                              std::less<>>;  // flattened [modules.NAME]; see hrmr_host::config

struct LoadRequest {
  std::string name;
  std::string path;  // the user's file; never mapped, never kept open. Empty for in-process modules
  std::string
      private_path;  // where this generation may keep its copy; no earlier generation used it
  uint64_t generation = 0;  // that this becomes, if it succeeds: a failed attempt uses none up
  const ModuleConfig* config = nullptr;
};

struct LoadedModule {
  std::string version;
  std::vector<std::unique_ptr<Route>> routes;  // `module` is filled in by the registry
  std::unique_ptr<Image> image;
};

class Loader {
 public:
  virtual ~Loader() = default;
  virtual std::string_view suffix() const = 0;  // ".so", ".py"; empty: in-process only
  // Reads the file once, copies it if it needs to, runs its load. On error nothing is left behind.
  virtual Result<LoadedModule> load(const LoadRequest& request) = 0;
  // True when the file's content is what `image` was made from (asked only when its stat changed).
  virtual bool is_same_content(const std::string& path, const Image& image) const = 0;
};

}  // namespace hrmr::modules
