#include "modules/native_loader.h"

#include <unistd.h>

#include <memory>
#include <utility>

#include "base/limits.h"
#include "modules/elf_check.h"
#include "modules/file_copy.h"

namespace hrmr::modules {

namespace {

constexpr const char* kOwnSqlite =
    "contains its own copy of SQLite: a database that two copies in one process open loses its "
    "locks; link the system's shared library instead (-lsqlite3)";

}  // namespace

Result<std::unique_ptr<Image>> NativeLoader::open(const OpenRequest& request) {
  kept_.sweep();
  std::vector<std::string> warnings;
  const Status staged = stage(request, warnings);
  if (!staged.is_ok()) return staged;
  auto opened = NativeImage::open(request, kept_, signals_);
  if (!opened.is_ok()) return opened.status();
  std::unique_ptr<NativeImage> image = opened.take();
  const Status entered = image->enter(host_, log_);
  if (entered.is_ok()) {
    for (const std::string& warning : warnings) image->add_warning(warning);
    return std::unique_ptr<Image>(std::move(image));
  }
  const Status closed = image->close();
  if (!closed.is_ok()) {
    log_.warn("reload", request.path + " was refused, and is " + closed.message());
  }
  return entered;
}

bool NativeLoader::is_same_content(const std::string& path, const Image& image) const {
  return has_same_bytes(path, static_cast<const NativeImage&>(image).private_path());
}

// The copy is checked, not the user's file: that one may change at any time.
Status NativeLoader::stage(const OpenRequest& request, std::vector<std::string>& warnings) {
  Status copied = copy_file(request.path, request.private_path);
  if (!copied.is_ok()) return copied;
  const Result<MappedFile> copy = MappedFile::open(request.private_path);
  Status checked = copy.is_ok() ? check_elf(copy.value().bytes(), request.path) : copy.status();
  if (checked.is_ok()) {
    const std::string reasons = reasons_to_stay_mapped(copy.value().bytes());
    checked = check_room(request, reasons);
    if (!reasons.empty()) warnings.push_back("may stay in memory after each reload: " + reasons);
    if (has_own_sqlite(copy.value().bytes())) warnings.emplace_back(kOwnSqlite);
  }
  if (!checked.is_ok()) ::unlink(request.private_path.c_str());
  return checked;
}

// What stays mapped stays for ever, so there is a bound. Modules that have never left anything
// behind are loaded on.
Status NativeLoader::check_room(const OpenRequest& request, const std::string& reasons) const {
  if (kept_.size() < limits::kKeptImagesMax) return Status::ok();
  const size_t own = kept_.count(request.name);
  if (own == 0 && reasons.empty()) return Status::ok();
  return Status::error(std::to_string(kept_.size()) + " old generations, " + std::to_string(own) +
                       " of them of this module, could not be unloaded and fill the memory: "
                       "restart HRMR" +
                       (reasons.empty() ? "" : "; " + reasons));
}

}  // namespace hrmr::modules
