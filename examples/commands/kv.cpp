// SPDX-License-Identifier: MIT
//
// A small key-value store: commands for Redis clients, lines and HTTP, whose content outlives
// reloads.
//
//     mkdir -p module_src && cp kv.cpp module_src/ && hrmr build && hrmr
//     redis-cli -p 8080 KV.SET user:1 Ada
//     redis-cli -p 8080 KV.GET user:1
//     curl -d '["user:1"]' http://127.0.0.1:8080/call/KV.GET
#include <cstdint>
#include <hrmr/command.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

namespace {

// With several loops, commands run on several threads: hence the lock.
class Store {
 public:
  void set(std::string_view key, std::string_view value) {
    const std::lock_guard lock(mutex_);
    values_[std::string(key)] = value;
  }
  bool get(std::string_view key, std::string& value) const {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(key);
    if (found == values_.end()) return false;
    value = found->second;
    return true;
  }
  bool erase(std::string_view key) {
    const std::lock_guard lock(mutex_);
    const auto found = values_.find(key);
    if (found == values_.end()) return false;
    values_.erase(found);
    return true;
  }
  std::map<std::string, std::string, std::less<>> all() const {
    const std::lock_guard lock(mutex_);
    return values_;
  }

  // Each text as its length in eight bytes, then its bytes.
  void save(hrmr::Save& save) const {
    save.schema(1);
    for (const auto& [key, value] : all()) {
      for (const std::string& text : {key, value}) {
        const uint64_t size = text.size();
        save.write({reinterpret_cast<const char*>(&size), sizeof size}).write(text);
      }
    }
  }
  void restore(std::string_view saved) {
    while (!saved.empty()) {
      const std::string_view key = take(saved);
      set(key, take(saved));
    }
  }

 private:
  static std::string_view take(std::string_view& saved) {
    uint64_t size = 0;
    if (saved.size() < sizeof size) throw std::runtime_error("the saved state is cut short");
    saved.copy(reinterpret_cast<char*>(&size), sizeof size);
    saved.remove_prefix(sizeof size);
    if (saved.size() < size) throw std::runtime_error("the saved state is cut short");
    const std::string_view text = saved.substr(0, size);
    saved.remove_prefix(size);
    return text;
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::string, std::less<>> values_;
};

void set(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
  store.set(call[0], call[1]);
  answer.simple("OK");
}

void get(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
  std::string value;
  if (store.get(call[0], value)) {
    answer.text(value);
  } else {
    answer.nil();
  }
}

// How many of the keys were there.
void erase(const hrmr::Call& call, hrmr::Answer& answer, Store& store) {
  int64_t erased = 0;
  for (size_t i = 0; i < call.size(); ++i) erased += store.erase(call[i]) ? 1 : 0;
  answer.integer(erased);
}

// On the pool: the copy of a large store takes its time.
void all(const hrmr::Call&, hrmr::Answer& answer, Store& store) {
  const auto values = store.all();
  answer.map(values.size());
  for (const auto& [key, value] : values) answer.text(key).text(value);
}

std::unique_ptr<Store> load(hrmr::Module& module) {
  auto store = std::make_unique<Store>();
  if (const hrmr::Previous before = module.previous()) {
    if (before.schema != 1) throw std::runtime_error("the saved state is of another version");
    store->restore(before.bytes);
  }
  hrmr::command(module, {"KV.SET", 2, 2}, set, *store);
  hrmr::command(module, {"KV.GET", 1, 1}, get, *store);
  hrmr::command(module, {"KV.DEL", 1}, erase, *store);
  hrmr::command(module, {"KV.ALL", 0, 0, hrmr::kPool}, all, *store);
  return store;
}

}  // namespace

HRMR_MODULE("kv", "1.0", load)
