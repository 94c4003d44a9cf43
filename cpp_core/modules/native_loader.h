// NativeLoader: .so files. A private copy that no earlier generation used, ELF segments checked
// against the file's size, dlopen(RTLD_NOW | RTLD_LOCAL), the ABI version checked, load run; after
// dlclose, verification that the image is gone.
//
// Threads: the reload thread; the host functions it offers (fill_load_functions) as abi.h tags
// them.
#pragma once

#include <hrmr/abi.h>

#include "modules/loader.h"
#include "modules/native_image.h"

namespace hrmr::modules {

// The host-table functions of loading: add_route, config, set_error, log. The server adds those of
// replies, and size, abi and version.
void fill_load_functions(hrmr_host& host);

// Lifetime: outlives the images it made.
class NativeLoader final : public Loader {
 public:
  NativeLoader(const hrmr_host& host, Log& log) : host_(host), log_(log) {}
  std::string_view suffix() const override { return ".so"; }
  Result<LoadedModule> load(const LoadRequest& request) override;
  bool is_same_content(const std::string& path, const Image& image) const override;

 private:
  Status stage(const LoadRequest& request);
  Status start(const LoadRequest& request, LoadedModule& loaded);

  const hrmr_host& host_;
  Log& log_;
  KeptImages kept_;
};

}  // namespace hrmr::modules
