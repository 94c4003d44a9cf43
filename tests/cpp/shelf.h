// Shelf: where handlers leave what they have deferred; and handlers for that.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>

#include "eventually.h"
#include "running_server.h"

namespace hrmr::test {

inline const hrmr_host& host() { return server::host_table(); }

// Where handlers leave what they have deferred.
class Shelf {
 public:
  void put(hrmr_reply* reply) {
    const std::lock_guard lock(mutex_);
    replies_.push_back(reply);
    changed_.notify_all();
  }
  // Waits for the oldest; null: none came.
  hrmr_reply* take() {
    std::unique_lock lock(mutex_);
    const auto has_one = [this] { return !replies_.empty(); };
    changed_.wait_for(lock, std::chrono::milliseconds(kPatienceMs), has_one);
    lock.unlock();
    return take_if_any();
  }
  // Does not wait.
  hrmr_reply* take_if_any() {
    const std::lock_guard lock(mutex_);
    if (replies_.empty()) return nullptr;
    hrmr_reply* reply = replies_.front();
    replies_.pop_front();
    return reply;
  }
  // Takes one, answers with that text, and completes it.
  void answer(std::string_view text) {
    hrmr_reply* reply = take();
    REQUIRE(reply != nullptr);
    CHECK(host().write(reply, bytes(text)) == HRMR_OK);
    host().complete(reply);
  }
  size_t size() {
    const std::lock_guard lock(mutex_);
    return replies_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<hrmr_reply*> replies_;
};

inline int put_off(const hrmr_request*, hrmr_reply* reply, void* context) {
  static_cast<Shelf*>(context)->put(host().defer(reply));
  return HRMR_OK;
}

// Leaves its reply on the shelf and stays until it is let go.
struct Lingerer {
  Shelf shelf;
  std::atomic<bool> may_go{false};

  static int handle(const hrmr_request*, hrmr_reply* reply, void* context) {
    auto& lingerer = *static_cast<Lingerer*>(context);
    lingerer.shelf.put(host().defer(reply));
    CHECK(eventually([&] { return lingerer.may_go.load(); }));
    return HRMR_OK;
  }
};

inline int complete_at_once(const hrmr_request* request, hrmr_reply* reply, void*) {
  hrmr_reply* deferred = host().defer(reply);
  host().write(deferred, request->rest);
  host().write(deferred, HRMR_BYTES(" at once\n"));
  host().complete(deferred);
  return HRMR_OK;
}

inline const Spec kInline{"IN ", Run::kInline, say, "inline "};
inline const Spec kPooled{"POOL ", Run::kPool, say, "pooled "};

inline Spec deferring(const char* prefix, Run run, Shelf& shelf,
                      modules::RouteFraming framing = modules::RouteFraming::kLine) {
  return {prefix, run, put_off, &shelf, framing};
}

inline std::string ask(Client& client, std::string_view request) {
  client.send(request);
  return client.line();
}

inline constexpr Run kRuns[] = {Run::kInline, Run::kPool, Run::kPython};

}  // namespace hrmr::test
