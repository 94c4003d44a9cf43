#include "modules/settling.h"

#include <algorithm>

#include "base/limits.h"

namespace hrmr::modules {

void Settling::on_written(const std::string& module, const std::string& path, uint64_t now_ms) {
  hold(module, path, now_ms + limits::kWriterSilenceMs);
}

void Settling::on_saved(const std::string& module, const std::string& path, uint64_t now_ms) {
  Pending& pending = pending_[module];
  pending.held_until_ms.erase(path);
  pending.quiet_until_ms = now_ms + limits::kSavedQuietMs;
}

void Settling::on_gone(const std::string& module, const std::string& path, uint64_t now_ms) {
  hold(module, path, now_ms + limits::kAbsentQuietMs);
}

void Settling::on_found(const std::string& module, const std::string& path, uint64_t now_ms) {
  hold(module, path, now_ms + limits::kAbsentQuietMs);
}

void Settling::hold(const std::string& module, const std::string& path, uint64_t until_ms) {
  pending_[module].held_until_ms[path] = until_ms;
}

std::vector<std::string> Settling::take_settled(uint64_t now_ms) {
  std::vector<std::string> settled;
  for (auto next = pending_.begin(); next != pending_.end();) {
    if (next->second.has_settled(now_ms)) {
      settled.push_back(next->first);
      next = pending_.erase(next);
    } else {
      ++next;
    }
  }
  return settled;
}

bool Settling::Pending::has_settled(uint64_t now_ms) const {
  return quiet_until_ms <= now_ms &&
         std::all_of(held_until_ms.begin(), held_until_ms.end(),
                     [&](const auto& held) { return held.second <= now_ms; });
}

}  // namespace hrmr::modules
