#include "net/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <string>

#include "base/check.h"
#include "base/clock.h"

namespace hrmr::net {
namespace {

thread_local const EventLoop* current_loop = nullptr;

}  // namespace

EventLoop::EventLoop(unsigned index) : index_(index) {}

EventLoop::~EventLoop() { free_retired(); }

Status EventLoop::open() {
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.is_open()) return errno_status("create", "an epoll set");
  wake_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake_.is_open()) return errno_status("create", "an eventfd");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return errno_status("watch", "an eventfd");
  }
  now_ms_ = monotonic_ms();
  timers_.start(now_ms_);
  return Status::ok();
}

void EventLoop::run() {
  HRMR_CHECK(wake_.is_open());
  current_loop = this;
  while (!stop_letter_.is_delivered) {
    wait(wait_limit_ms());
    run_scheduled();
    deliver_events();
    deliver_letters();
    timers_.advance(now_ms_);
    free_retired();
  }
  current_loop = nullptr;
}

void EventLoop::stop() {
  if (!is_stop_posted_.exchange(true, std::memory_order_acq_rel)) post(stop_letter_);
}

void EventLoop::post(Letter& letter) {
  Letter* top = mailbox_.load(std::memory_order_relaxed);
  // `top` may have been delivered and posted again since we read it. That is no ABA trouble:
  // letters are only ever taken all at once, so what counts is that it is the top when we put ours
  // on it. Release: the loop sees what the poster wrote into the letter.
  do {
    letter.next_ = top == &asleep_ ? nullptr : top;
  } while (!mailbox_.compare_exchange_weak(top, &letter, std::memory_order_release,
                                           std::memory_order_relaxed));
  if (top != &asleep_) return;
  const uint64_t one = 1;
  // Cannot fail: the counter never comes near its end.
  HRMR_CHECK_EQ(::write(wake_.get(), &one, sizeof one), sizeof one);
}

Status EventLoop::add(int fd, Source& source, uint32_t events) {
  return control(EPOLL_CTL_ADD, fd, source, events);
}

Status EventLoop::modify(int fd, Source& source, uint32_t events) {
  return control(EPOLL_CTL_MOD, fd, source, events);
}

Status EventLoop::control(int operation, int fd, Source& source, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &source;
  if (epoll_ctl(epoll_.get(), operation, fd, &event) == 0) return Status::ok();
  return errno_status("watch", "descriptor " + std::to_string(fd));
}

void EventLoop::remove(int fd, Source& source) {
  HRMR_CHECK_EQ(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr), 0);
  source.leave();
  for (size_t i = ready_next_; i < ready_count_; ++i) {
    if (ready_[i].data.ptr == &source) ready_[i].data.ptr = nullptr;
  }
}

void EventLoop::schedule(Source& source) {
  if (source.is_alone()) source.join_before(scheduled_);
}

void EventLoop::retire_later(Retired* object) {
  object->next_retired_ = retired_;
  retired_ = object;
}

bool EventLoop::is_current_thread() const { return current_loop == this; }

int EventLoop::wait_limit_ms() {
  if (!scheduled_.is_alone()) return 0;
  Letter* top = nullptr;
  // Relaxed: the mark tells the poster nothing but its own address.
  if (!mailbox_.compare_exchange_strong(top, &asleep_, std::memory_order_relaxed)) return 0;
  const int64_t limit_ms = timers_.ms_to_next(monotonic_ms());
  return static_cast<int>(std::min<int64_t>(limit_ms, INT_MAX));
}

void EventLoop::wait(int limit_ms) {
  const int count = epoll_wait(epoll_.get(), ready_.data(), limits::kEventsPerTurn, limit_ms);
  HRMR_CHECK(count >= 0 || errno == EINTR);
  ready_next_ = 0;
  ready_count_ = count > 0 ? static_cast<size_t>(count) : 0;
  now_ms_ = monotonic_ms();
  // Timers fire at the end of the turn, so that what arrived in time counts before its timeout
  // does; but what is armed in this turn counts from here.
  timers_.set_now(now_ms_);
}

void EventLoop::run_scheduled() {
  // Those that are scheduled meanwhile join a new ring, for the next turn.
  if (scheduled_.is_alone()) return;
  RingNode now;
  now.join_before(scheduled_);
  scheduled_.leave();
  while (!now.is_alone()) {
    auto* source = static_cast<Source*>(now.after);
    source->leave();
    source->on_event(0);
  }
}

void EventLoop::deliver_events() {
  while (ready_next_ < ready_count_) {
    const epoll_event event = ready_[ready_next_++];
    if (event.data.ptr != nullptr) static_cast<Source*>(event.data.ptr)->on_event(event.events);
  }
}

void EventLoop::deliver_letters() {
  if (mailbox_.load(std::memory_order_relaxed) == nullptr) return;
  Letter* oldest = take_letters();
  while (oldest != nullptr) {
    Letter* letter = oldest;
    oldest = letter->next_;
    letter->on_delivery();
  }
}

void EventLoop::discard_letters() {
  Letter* oldest = take_letters();
  while (oldest != nullptr) {
    Letter* letter = oldest;
    oldest = letter->next_;
    letter->on_undelivered();
  }
}

// All of them, the oldest first.
Letter* EventLoop::take_letters() {
  // Acquire: pairs with the release of every post in the stack (each swap continues the release
  // sequence of those below it).
  Letter* top = mailbox_.exchange(nullptr, std::memory_order_acquire);
  if (top == &asleep_) return nullptr;
  Letter* oldest = nullptr;
  while (top != nullptr) {
    Letter* below = top->next_;
    top->next_ = oldest;
    oldest = top;
    top = below;
  }
  return oldest;
}

void EventLoop::free_retired() {
  // One at a time: a destructor may retire others.
  while (Retired* object = retired_) {
    retired_ = object->next_retired_;
    delete object;
  }
}

}  // namespace hrmr::net
