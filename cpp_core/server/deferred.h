// Deferred: a reply that outlives its handler (hrmr_host::defer). It has a buffer of its own and
// copies of all that its request told about the answer; the connection waits for it.
//
// Lifetime: made inside a handler and then the module's, until complete or drop posts it to the
// loop of its connection, which hands it to the owner. It pins nothing itself: the loop does, for
// an inline handler from the moment that it returns, for a batch as for all its requests. A module
// may still complete or drop in its unload when the loops have stopped; the letter then ends with
// its loop (EventLoop::discard_letters).
//
// Threads: made on the handler's; written, completed, dropped on any, one at a time; from then on
// its loop's.
#pragma once

#include <memory>

#include "base/output.h"
#include "net/event_loop.h"
#include "server/exchange.h"
#include "server/host_table.h"

namespace hrmr::server {

class Deferred final : public net::Letter {
 public:
  explicit Deferred(const Call& call);
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  hrmr_reply& reply() { return reply_; }
  // Sends it off: as it is, or as an error if the host has refused a call on it.
  void complete();
  // Answers for a module that did not.
  void drop();

  // On the loop.
  void on_delivery() override { owner_.on_deferred_done(std::unique_ptr<Deferred>(this)); }
  void on_undelivered() override { delete this; }
  modules::Module& module() { return *route_.module; }
  Output& output() { return output_; }
  bool closes() const { return reply_.writer.closes(); }
  bool aborts() const { return reply_.writer.aborts(); }
  net::EventLoop& loop() { return loop_; }
  BatchOwner& owner() { return owner_; }

 private:
  void send_off();

  const modules::Route& route_;
  net::EventLoop& loop_;
  BatchOwner& owner_;
  Log& log_;
  char date_[kHttpDateBytes];
  Output output_;
  hrmr_reply reply_;
};

}  // namespace hrmr::server
