// NativeImage: one dlopen handle, the private copy that it maps, and the hrmr_context of that
// generation.
//
// The copy is kept until the code is gone. While a library is mapped its inode must not be free for
// the next copy: dlopen takes a file with the inode of a mapped library for that library. So what
// dlclose leaves behind goes to KeptImages, file and context with it.
//
// Threads: the reload thread.
#pragma once

#include <hrmr/abi.h>

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "modules/loader.h"
#include "modules/signal_check.h"

// One loaded generation as the module's own code names it, when it writes to the log.
struct hrmr_context {
  hrmr::Log* log;
  std::string source;  // "module.NAME"
};

namespace hrmr::modules {

// Images that dlclose left mapped. Some go later, when a thread that held them has ended.
class KeptImages {
 public:
  void keep(std::string module, std::string private_path, std::unique_ptr<hrmr_context> context);
  // Drops those that are gone by now.
  void sweep();
  size_t size() const { return kept_.size(); }
  size_t count(const std::string& module) const;

 private:
  struct Kept {
    std::string module;
    std::string private_path;
    std::unique_ptr<hrmr_context> context;
  };
  std::vector<Kept> kept_;
};

class NativeImage final : public Image {
 public:
  // Maps the private copy, which the image owns from then on, also when this fails. Errors show
  // the user's file. `kept` and `signals` outlive the image.
  static Result<std::unique_ptr<NativeImage>> open(const OpenRequest& request, KeptImages& kept,
                                                   HostSignals& signals);
  ~NativeImage() override;

  // Finds and checks what the module exports. Once, first. `host` and `log` outlive the image.
  Status enter(const hrmr_host& host, Log& log);
  void add_warning(const std::string& warning);

  Result<Registrations> load(const LoadArguments& arguments) override;
  bool saves_state() const override { return entry_.save_state != nullptr; }
  Result<SavedState> save_state() override;
  void unload() override;
  Status close() override;

  std::string warning() const override { return warning_; }

  const std::string& private_path() const { return private_path_; }

 private:
  NativeImage(void* handle, const OpenRequest& request, KeptImages& kept, HostSignals& signals)
      : handle_(handle),
        name_(request.name),
        shown_path_(request.path),
        private_path_(request.private_path),
        generation_(request.generation),
        kept_(kept),
        signals_(signals) {}

  void* handle_;
  std::string name_;
  std::string shown_path_;
  std::string private_path_;
  uint64_t generation_;
  KeptImages& kept_;
  HostSignals& signals_;
  std::string warning_;
  const hrmr_host* host_ = nullptr;
  hrmr_module entry_{};
  std::unique_ptr<hrmr_context> context_;
  void* state_ = nullptr;
  bool has_loaded_ = false;  // and is not unloaded
};

}  // namespace hrmr::modules
