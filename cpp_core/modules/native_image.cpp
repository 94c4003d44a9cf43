#include "modules/native_image.h"

#include <dlfcn.h>
#include <unistd.h>

#include <utility>

#include "modules/elf_check.h"
#include "modules/file_copy.h"

namespace hrmr::modules {

namespace {

bool is_mapped(const std::string& path) {
  void* const handle = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return false;
  ::dlclose(handle);
  return true;
}

// What dlopen has to say, about the file that the user knows.
Status dlopen_error(const std::string& private_path, const std::string& shown_path) {
  const char* const reported = ::dlerror();
  std::string text = reported == nullptr ? "unknown error" : reported;
  for (size_t at = text.find(private_path); at != std::string::npos; at = text.find(private_path)) {
    text.replace(at, private_path.size(), shown_path);
  }
  if (text.find(shown_path) == std::string::npos) text = shown_path + ": " + text;
  if (text.find("failed to map segment") != std::string::npos) {
    text += " (if the folder for temporary files is mounted noexec, set TMPDIR to another)";
  }
  return Status::error("cannot load " + text);
}

}  // namespace

void KeptImages::keep(std::string private_path, std::unique_ptr<hrmr_context> context) {
  kept_.push_back({std::move(private_path), std::move(context)});
}

void KeptImages::sweep() {
  std::erase_if(kept_, [](const Kept& kept) {
    if (is_mapped(kept.private_path)) return false;
    ::unlink(kept.private_path.c_str());
    return true;
  });
}

Result<std::unique_ptr<NativeImage>> NativeImage::open(const std::string& private_path,
                                                       const std::string& shown_path,
                                                       KeptImages& kept) {
  // NOW: a missing symbol must fail here, not kill the process at the first call. LOCAL: no
  // generation may see another's functions. Not DEEPBIND, which sanitizers refuse.
  void* const handle = ::dlopen(private_path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    Status status = dlopen_error(private_path, shown_path);
    if (is_mapped(private_path)) {
      kept.keep(private_path, nullptr);
    } else {
      ::unlink(private_path.c_str());
    }
    return status;
  }
  return std::unique_ptr<NativeImage>(new NativeImage(handle, private_path, kept));
}

NativeImage::~NativeImage() {
  if (handle_ != nullptr) static_cast<void>(close().is_ok());
}

void* NativeImage::find_symbol(const char* name) const { return ::dlsym(handle_, name); }

void NativeImage::set_unload(void (*function)(void* state), void* state) {
  unload_ = function;
  state_ = state;
}

void NativeImage::unload() {
  if (unload_ == nullptr) return;
  // The ABI forbids exceptions; one that comes all the same must not end the server.
  try {
    std::exchange(unload_, nullptr)(state_);
  } catch (...) {
    if (context_ != nullptr) {
      context_->log->error(context_->source, "unload threw a C++ exception, which the ABI forbids");
    }
  }
}

Status NativeImage::close() {
  if (handle_ == nullptr) return Status::ok();
  ::dlclose(std::exchange(handle_, nullptr));
  if (!is_mapped(private_path_)) {
    ::unlink(private_path_.c_str());
    context_.reset();  // not before: destructors of the module's statics may write to the log
    return Status::ok();
  }
  std::string reasons;
  const Result<MappedFile> file = MappedFile::open(private_path_);
  if (file.is_ok()) reasons = reasons_to_stay_mapped(file.value().bytes());
  if (reasons.empty()) reasons = "the reason is not known; a thread may still be inside it";
  kept_.keep(private_path_, std::move(context_));
  return Status::error("still mapped after dlclose: " + reasons + " (" +
                       std::to_string(kept_.size()) + " kept so far)");
}

}  // namespace hrmr::modules
