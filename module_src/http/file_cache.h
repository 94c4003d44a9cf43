// FileCache: representations by path, bounded in entries, bytes and descriptors.
//
// It is looked into on event loops, so looking takes no lock, never waits and allocates nothing: a
// slot is pinned by a counter while it is read, and who wants to change one that is pinned gives
// up. What is cached may be stale; see is_current in http.cpp.
//
// Threads: find on any; insert, sweep on any that may wait a moment for the allocator.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "representation.h"

namespace http {

// What is asked for: the decoded path, whether it ended in a slash, and Accepted::key.
struct CacheKey {
  std::string_view path;
  bool is_folder = false;
  uint8_t accepted = 0;

  uint64_t hash() const {
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t{accepted} << 1 | (is_folder ? 1 : 0));
    for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash ^= hash >> 29;
    return hash == 0 ? 1 : hash;  // 0: an empty slot
  }
};

struct CacheBounds {
  size_t bytes = 0;
  size_t entries = 0;  // 0: nothing is cached
  size_t files = 0;    // entries with an open descriptor
};

class FileCache {
  struct Slot;

 public:
  // Keeps what was found as it is until it goes. Empty: nothing was found.
  class Pin {
   public:
    Pin() = default;
    explicit Pin(Slot* slot) : slot_(slot) {}
    Pin(Pin&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(slot_, other.slot_);
      return *this;
    }
    Pin(const Pin&) = delete;
    Pin& operator=(const Pin&) = delete;
    ~Pin() {
      if (slot_ != nullptr) slot_->pins.fetch_sub(1, std::memory_order_release);
    }
    explicit operator bool() const { return slot_ != nullptr; }
    Representation& operator*() const { return *slot_->content; }
    Representation* operator->() const { return slot_->content.get(); }

   private:
    Slot* slot_ = nullptr;
  };

  explicit FileCache(const CacheBounds& bounds)
      : bounds_(bounds),
        ways_(bounds.entries < kWays ? bounds.entries : kWays),
        sets_(ways_ == 0 ? 0 : bounds.entries / ways_),
        slots_(std::make_unique<Slot[]>(sets_ * ways_)) {}
  FileCache(const FileCache&) = delete;
  FileCache& operator=(const FileCache&) = delete;

  Pin find(const CacheKey& key) {
    if (sets_ == 0) return Pin();
    const uint64_t hash = key.hash();
    Slot* set = set_of(hash);
    for (Slot* slot = set; slot != set + ways_; ++slot) {
      if (slot->hash.load(std::memory_order_relaxed) != hash) continue;
      Pin pin = pinned(*slot);
      if (!pin || !slot->holds(key)) continue;
      if (!slot->was_used.load(std::memory_order_relaxed))
        slot->was_used.store(true, std::memory_order_relaxed);
      return pin;
    }
    return Pin();
  }

  // Takes the place of what is there under that key; makes room by dropping what was not asked for
  // lately. May keep nothing: when it would not fit, or when a loop reads what had to go.
  void insert(const CacheKey& key, std::unique_ptr<Representation> content) {
    if (sets_ == 0) return;
    const uint64_t hash = key.hash();
    Slot* slot = lock_place(set_of(hash), hash, key);
    if (slot == nullptr) return;
    drop_content(*slot);
    if (make_room(*content)) {
      slot->path = key.path;
      slot->is_folder = key.is_folder;
      slot->accepted = key.accepted;
      slot->content = std::move(content);
      slot->was_used.store(true, std::memory_order_relaxed);
      slot->hash.store(hash, std::memory_order_relaxed);
    }
    unlock(*slot);
  }

  // Drops what nobody has asked for since the sweep before the last one: at its second call in a
  // row an unused entry is gone.
  void sweep() {
    for (size_t i = 0; i < sets_ * ways_; ++i) drop_if_unused(slots_[i]);
  }

  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  size_t files() const { return files_.load(std::memory_order_relaxed); }
  size_t entries() const {
    size_t count = 0;
    for (size_t i = 0; i < sets_ * ways_; ++i)
      count += slots_[i].hash.load(std::memory_order_relaxed) != 0 ? 1 : 0;
    return count;
  }

 private:
  // A key may be kept in any slot of its set.
  static constexpr size_t kWays = 8;
  // Far below 0, so that a reader that came too late to a locked slot does not make it look
  // unlocked.
  static constexpr int kLocked = -(1 << 30);

  struct Slot {
    std::atomic<int> pins{0};
    std::atomic<bool> was_used{false};
    std::atomic<uint64_t> hash{0};  // 0: empty
    std::string path;
    bool is_folder = false;
    uint8_t accepted = 0;
    std::unique_ptr<Representation> content;

    bool holds(const CacheKey& key) const {
      return content != nullptr && path == key.path && is_folder == key.is_folder &&
             accepted == key.accepted;
    }
  };

  Slot* set_of(uint64_t hash) const { return slots_.get() + hash % sets_ * ways_; }

  static Pin pinned(Slot& slot) {
    if (slot.pins.fetch_add(1, std::memory_order_acquire) >= 0) return Pin(&slot);
    slot.pins.fetch_sub(1, std::memory_order_relaxed);
    return Pin();
  }
  static bool try_lock(Slot& slot) {
    int nobody = 0;
    return slot.pins.compare_exchange_strong(nobody, kLocked, std::memory_order_acquire,
                                             std::memory_order_relaxed);
  }
  static void unlock(Slot& slot) { slot.pins.fetch_sub(kLocked, std::memory_order_release); }

  // The slot of that key; else an empty one; else one that was not used lately; else any. Locked,
  // or null if a loop reads it.
  Slot* lock_place(Slot* set, uint64_t hash, const CacheKey& key) {
    Slot* best = set + (hash >> 32) % ways_;
    for (Slot* slot = set; slot != set + ways_; ++slot) {
      const uint64_t held = slot->hash.load(std::memory_order_relaxed);
      if (held == hash) {
        const Pin pin = pinned(*slot);
        if (!pin) return nullptr;
        if (slot->holds(key)) {
          best = slot;
          break;
        }
      }
      const bool is_best_taken = best->hash.load(std::memory_order_relaxed) != 0;
      const bool was_best_used = best->was_used.load(std::memory_order_relaxed);
      const bool was_used = slot->was_used.load(std::memory_order_relaxed);
      if ((held == 0 && is_best_taken) || (is_best_taken && was_best_used && !was_used))
        best = slot;
    }
    return try_lock(*best) ? best : nullptr;
  }

  // Of a locked slot.
  void drop_content(Slot& slot) {
    slot.hash.store(0, std::memory_order_relaxed);
    slot.was_used.store(false, std::memory_order_relaxed);
    if (slot.content == nullptr) return;
    bytes_.fetch_sub(slot.content->memory_bytes(), std::memory_order_relaxed);
    if (!slot.content->is_in_memory) files_.fetch_sub(1, std::memory_order_relaxed);
    slot.content.reset();
  }

  bool drop_if_unused(Slot& slot) {
    if (slot.hash.load(std::memory_order_relaxed) == 0) return false;
    if (slot.was_used.exchange(false, std::memory_order_relaxed)) return false;
    if (!try_lock(slot)) return false;
    drop_content(slot);
    unlock(slot);
    return true;
  }

  // Counts `content` in; false, and it is not, if it cannot fit.
  bool make_room(const Representation& content) {
    const size_t bytes = content.memory_bytes();
    const size_t files = content.is_in_memory ? 0 : 1;
    if (bytes > bounds_.bytes || files > bounds_.files) return false;
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
    files_.fetch_add(files, std::memory_order_relaxed);
    // Twice around: the first time takes from each slot that it was used.
    const auto is_full = [this] {
      return bytes_.load(std::memory_order_relaxed) > bounds_.bytes ||
             files_.load(std::memory_order_relaxed) > bounds_.files;
    };
    for (size_t left = 2 * sets_ * ways_; left > 0 && is_full(); --left)
      drop_if_unused(slots_[hand_.fetch_add(1, std::memory_order_relaxed) % (sets_ * ways_)]);
    if (!is_full()) return true;
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    files_.fetch_sub(files, std::memory_order_relaxed);
    return false;
  }

  const CacheBounds bounds_;
  const size_t ways_;
  const size_t sets_;
  const std::unique_ptr<Slot[]> slots_;
  std::atomic<size_t> bytes_{0};
  std::atomic<size_t> files_{0};
  std::atomic<size_t> hand_{0};
};

}  // namespace http
