// Script: what happens around the engine, as one character a time. tests/fuzz/README.md lists them.
//
// Behind the script's end the world turns friendly: everything arrives, every job is run. Then all
// must have been read and answered. At last every peer ends, and so must the engine, soon.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine.h"
#include "kernel.h"

namespace hrmr::fuzz {

inline constexpr size_t kPeersMax = 3;

// What has happened that allows an answer to differ from that of an undisturbed server.
struct Disturbances {
  uint64_t passed_ms = 0;
  bool has_refused = false;  // a full queue or a reload: 503
  bool has_dropped = false;  // a deferred reply
  bool has_removed = false;  // the module
  bool has_drained = false;
};

struct PeerSeen {
  Socket* socket = nullptr;  // null: never connected
  bool is_local = true;
  bool is_cut_off = false;  // by a reset, or by a write that failed
};

class Script final : public Player {
 public:
  // `sent[i]`: what peer i sends, all in all.
  Script(std::string_view steps, std::vector<std::string_view> sent);

  void run();
  bool step(int limit_ms) override;

  const std::vector<PeerSeen>& peers() const { return peers_; }
  const Disturbances& disturbances() const { return disturbances_; }
  bool has_raw() const { return has_raw_; }

 private:
  void play(char sign);
  bool play_socket(char sign, PeerSeen& peer);
  bool play_world(char sign);
  bool play_modules(char sign);
  void choose(size_t index);
  void pass(uint64_t ms);
  bool end_step(int limit_ms);
  void let_flow();
  void end_peers();
  bool are_all_closed() const;

  std::string_view steps_;
  std::vector<std::string_view> sent_;
  bool has_raw_;
  bool are_local_ = true;
  std::vector<PeerSeen> peers_;
  size_t chosen_ = 0;
  Disturbances disturbances_;
  size_t end_turns_ = 0;
  uint64_t ended_ms_ = 0;
  bool have_peers_ended_ = false;
  Kernel kernel_;
  Engine engine_;
};

}  // namespace hrmr::fuzz
