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
#include "modules/module.h"

// One loaded generation as the module's own code names it, when it writes to the log.
struct hrmr_context {
  hrmr::Log* log;
  std::string source;  // "module.NAME"
};

namespace hrmr::modules {

// Images that dlclose left mapped. Some go later, when a thread that held them has ended.
class KeptImages {
 public:
  void keep(std::string private_path, std::unique_ptr<hrmr_context> context);
  // Drops those that are gone by now.
  void sweep();
  size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    std::string private_path;
    std::unique_ptr<hrmr_context> context;
  };
  std::vector<Kept> kept_;
};

class NativeImage final : public Image {
 public:
  // Maps `private_path`, which the image owns from then on, also when this fails. Errors show
  // `shown_path`, the user's file. `kept` outlives the image.
  static Result<std::unique_ptr<NativeImage>> open(const std::string& private_path,
                                                   const std::string& shown_path, KeptImages& kept);
  ~NativeImage() override;

  void unload() override;
  Status close() override;

  // Null: there is none of that name.
  void* find_symbol(const char* name) const;
  const std::string& private_path() const { return private_path_; }
  void set_context(std::unique_ptr<hrmr_context> context) { context_ = std::move(context); }
  // What unload() will call: load returned HRMR_OK with this state. `function` may be null.
  void set_unload(void (*function)(void* state), void* state);

 private:
  NativeImage(void* handle, std::string private_path, KeptImages& kept)
      : handle_(handle), private_path_(std::move(private_path)), kept_(kept) {}

  void* handle_;
  std::string private_path_;
  KeptImages& kept_;
  std::unique_ptr<hrmr_context> context_;
  void (*unload_)(void* state) = nullptr;
  void* state_ = nullptr;
};

}  // namespace hrmr::modules
