// Loader: turns a file into an Image. NativeLoader does so for .so files; the Python bridge (bind)
// has one for .py files and one for functions registered by the embedding program.
//
// Opening is apart from loading, because it may take long (a large library to map, Python imports)
// and needs nothing of the generation that serves: that one goes on meanwhile, also under `hold`.
//
// Threads: the reload thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"
#include "modules/image.h"

namespace hrmr::modules {

struct OpenRequest {
  std::string name;
  std::string path;  // the user's file; never mapped, never kept open. Of a package its folder.
                     // Empty for in-process modules
  std::string
      private_path;  // where this generation may keep its copy; no earlier generation used it
  uint64_t generation = 0;  // that this becomes, if it succeeds: a failed attempt uses none up
};

class Loader {
 public:
  virtual ~Loader() = default;
  virtual std::string_view suffix() const = 0;  // ".so", ".py"; empty: in-process only
  // A folder with a file of that name in it is one module, made of all files of the suffix in it
  // (sources.h); empty: no folder is.
  virtual std::string_view package_file() const { return {}; }
  // Reads the file once, copies it if it needs to, maps or compiles and executes it. Of the module
  // only what runs by itself has run: static constructors, a Python file's top level. On error
  // nothing is left behind.
  virtual Result<std::unique_ptr<Image>> open(const OpenRequest& request) = 0;
  // True when the content of the file, or of the package's files, is what `image` was made from
  // (asked only when its stat changed).
  virtual bool is_same_content(const std::string& path, const Image& image) const = 0;
  // Images that could not be let go of and stay for the life of the process.
  virtual size_t kept_images() const { return 0; }
};

}  // namespace hrmr::modules
