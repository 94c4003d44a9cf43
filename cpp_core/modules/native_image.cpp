#include "modules/native_image.h"

#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "modules/elf_check.h"
#include "modules/file_copy.h"
#include "modules/load_call.h"

namespace hrmr::modules {

namespace {

bool is_mapped(const std::string& path) {
  void* const handle = ::dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return false;
  ::dlclose(handle);
  return true;
}

// noexcept: an exception of a constructor of the library that came past dlopen would leave the
// dynamic linker's lock taken for ever. The next dlopen of another thread, and the exit of the
// process, would hang. So it ends here, and the crash report names the module.
//
// NOW: a missing symbol must fail here, not kill the process at the first call. LOCAL: no
// generation may see another's functions. Not DEEPBIND, which sanitizers refuse.
void* open_library(const std::string& path) noexcept {
  // glibc declares that it throws nothing, and the compiler would believe it.
  void* (*const volatile open)(const char*, int) = ::dlopen;
  return open(path.c_str(), RTLD_NOW | RTLD_LOCAL);
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

void KeptImages::keep(std::string module, std::string private_path,
                      std::unique_ptr<hrmr_context> context) {
  kept_.push_back({std::move(module), std::move(private_path), std::move(context)});
}

void KeptImages::sweep() {
  std::erase_if(kept_, [](const Kept& kept) {
    if (is_mapped(kept.private_path)) return false;
    ::unlink(kept.private_path.c_str());
    return true;
  });
}

size_t KeptImages::count(const std::string& module) const {
  return static_cast<size_t>(std::count_if(
      kept_.begin(), kept_.end(), [&](const Kept& kept) { return kept.module == module; }));
}

Result<std::unique_ptr<NativeImage>> NativeImage::open(const OpenRequest& request, KeptImages& kept,
                                                       HostSignals& signals) {
  signals.note(request.private_path);
  void* const handle = open_library(request.private_path);
  if (handle == nullptr) {
    Status status = dlopen_error(request.private_path, request.path);
    if (is_mapped(request.private_path)) {
      kept.keep(request.name, request.private_path, nullptr);
    } else {
      ::unlink(request.private_path.c_str());
    }
    return status;
  }
  return std::unique_ptr<NativeImage>(new NativeImage(handle, request, kept, signals));
}

NativeImage::~NativeImage() {
  if (handle_ != nullptr) static_cast<void>(close().is_ok());
}

Status NativeImage::enter(const hrmr_host& host, Log& log) {
  const auto* entry = static_cast<const hrmr_module*>(::dlsym(handle_, "hrmr_module_v1"));
  if (entry == nullptr) {
    return Status::error(shown_path_ +
                         " is not an HRMR module: it does not export hrmr_module_v1 "
                         "(HRMR_MODULE in module.hpp makes it)");
  }
  const std::string fault = entry_fault(*entry, name_);
  if (!fault.empty()) return Status::error(shown_path_ + ": " + fault);
  host_ = &host;
  entry_ = read_entry(*entry);
  context_ = std::make_unique<hrmr_context>(hrmr_context{&log, "module." + name_});
  return Status::ok();
}

void NativeImage::add_warning(const std::string& warning) {
  if (warning.empty()) return;
  context_->log->warn("reload", shown_path_ + " " + warning);
  warning_ += (warning_.empty() ? "it " : "; it ") + warning;
}

Result<Registrations> NativeImage::load(const LoadArguments& arguments) {
  const LoadCallSite site{host_, context_.get(), generation_};
  Result<Registrations> loaded = call_load(entry_, site, arguments, state_, has_loaded_);
  // A load that returned HRMR_OK holds what it opened, even if it is refused for a bad route.
  if (!loaded.is_ok()) unload();
  const std::string signals = signals_.take_back(private_path_);
  if (!signals.empty()) add_warning("handled " + signals);
  return loaded;
}

Result<SavedState> NativeImage::save_state() { return call_save_state(entry_, *host_, state_); }

void NativeImage::unload() {
  if (!std::exchange(has_loaded_, false) || entry_.unload == nullptr) return;
  // The ABI forbids exceptions; one that comes all the same must not end the server.
  try {
    entry_.unload(state_);
  } catch (...) {
    context_->log->error(context_->source, "unload threw a C++ exception, which the ABI forbids");
  }
}

Status NativeImage::close() {
  if (handle_ == nullptr) return Status::ok();
  const std::string signals = signals_.take_back(private_path_);
  if (!signals.empty() && context_ != nullptr) {
    context_->log->warn(context_->source, "left a handler for " + signals);
  }
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
  kept_.keep(name_, private_path_, std::move(context_));
  return Status::error("still mapped after dlclose: " + reasons + " (" +
                       std::to_string(kept_.size()) + " kept so far)");
}

}  // namespace hrmr::modules
