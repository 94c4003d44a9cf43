// NativeLoader: .so files. A private copy that no earlier generation used, ELF segments checked
// against the file's size, dlopen(RTLD_NOW | RTLD_LOCAL), the ABI version checked; after dlclose,
// verification that the image is gone. What stays mapped is counted, and bounded.
//
// Threads: the reload thread.
#pragma once

#include <hrmr/abi.h>

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "modules/loader.h"
#include "modules/native_image.h"

namespace hrmr::modules {

// Lifetime: outlives the images it made.
class NativeLoader final : public Loader {
 public:
  NativeLoader(const hrmr_host& host, Log& log) : host_(host), log_(log) {}
  std::string_view suffix() const override { return ".so"; }
  Result<std::unique_ptr<Image>> open(const OpenRequest& request) override;
  bool is_same_content(const std::string& path, const Image& image) const override;
  size_t kept_images() const override { return kept_.size(); }

 private:
  Status stage(const OpenRequest& request, std::vector<std::string>& warnings);
  Status check_room(const OpenRequest& request, const std::string& reasons) const;

  const hrmr_host& host_;
  Log& log_;
  KeptImages kept_;
  HostSignals signals_;
};

}  // namespace hrmr::modules
