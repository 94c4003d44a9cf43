#include "script.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"

namespace hrmr::fuzz {
namespace {

constexpr size_t kEndTurnsMax = 20'000;
// What may still pass then: no more than a few ticks of the timers, as all peers have ended.
constexpr uint64_t kEndMsMax = 50;

}  // namespace

Script::Script(std::string_view steps, std::vector<std::string_view> sent)
    : steps_(steps),
      sent_(std::move(sent)),
      has_raw_(steps.find('R') != std::string_view::npos),
      peers_(kPeersMax),
      kernel_(*this),
      engine_(kernel_, has_raw_) {
  sent_.resize(kPeersMax);
}

void Script::run() {
  engine_.run();
  engine_.check_rest();
  disturbances_.has_drained = disturbances_.has_drained || engine_.was_shut_down;
}

bool Script::step(int limit_ms) {
  while (!steps_.empty()) {
    const char sign = steps_.front();
    steps_.remove_prefix(1);
    if (sign == '|') return true;
    play(sign);
  }
  return end_step(limit_ms);
}

void Script::play(char sign) {
  if (sign >= '0' && sign < static_cast<char>('0' + kPeersMax)) {
    choose(static_cast<size_t>(sign - '0'));
    return;
  }
  if (play_world(sign) || play_modules(sign)) return;
  PeerSeen& peer = peers_[chosen_];
  if (peer.socket != nullptr && peer.socket->is_open) static_cast<void>(play_socket(sign, peer));
}

void Script::choose(size_t index) {
  chosen_ = index;
  PeerSeen& peer = peers_[index];
  if (peer.socket != nullptr) return;
  peer.socket = &kernel_.open_socket(sent_[index]);
  peer.is_local = are_local_;
  engine_.accept(*peer.socket, peer.is_local);
}

bool Script::play_socket(char sign, PeerSeen& peer) {
  Socket& socket = *peer.socket;
  switch (sign) {
    case '.':
      kernel_.arrive(socket, 1);
      return true;
    case '-':
      kernel_.arrive(socket, 16);
      return true;
    case '=':
      kernel_.arrive(socket, 400);
      return true;
    case '*':
      kernel_.arrive(socket, SIZE_MAX);
      return true;
    case 'e':
      if (socket.is_reset) return true;
      socket.has_end = true;
      kernel_.edge(socket);
      return true;
    case 'x':
      socket.is_reset = peer.is_cut_off = true;
      kernel_.edge(socket);
      return true;
    case 'u':
      socket.urgent_at = socket.arrived;
      kernel_.edge(socket, EPOLLPRI);
      return true;
    case 'i':
      socket.interrupts_read = true;
      return true;
    case 'k':
      socket.interrupts_write = true;
      return true;
    case 'p':
      socket.is_broken = peer.is_cut_off = true;
      return true;
    case 'f':
      socket.loses_file = peer.is_cut_off = true;
      return true;
    case 'F':
      socket.lacks_files = !socket.lacks_files;
      return true;
    case 's':
      socket.window = 0;
      return true;
    case 'w':
      kernel_.open_window(socket, 100);
      return true;
    case 'W':
      kernel_.open_window(socket, SIZE_MAX);
      return true;
    case 'a':
      socket.has_unacknowledged = !socket.has_unacknowledged;
      return true;
    case 'o':
      kernel_.edge(socket);
      return true;
    default:
      return false;
  }
}

bool Script::play_world(char sign) {
  switch (sign) {
    case 't':
      pass(10);
      return true;
    case 'T':
      pass(1000);
      return true;
    case '~':
      kernel_.reverse_order();
      return true;
    case 'v':
      kernel_.interrupt_wait();
      return true;
    case 'D':
      kernel_.turn_cold();
      return true;
    case '@':
      are_local_ = !are_local_;
      return true;
    case 'z':
      disturbances_.has_drained = true;
      engine_.begin_drain();
      return true;
    case 'b':
      engine_.run_job(false);
      return true;
    case 'B':
      engine_.run_job(true);
      return true;
    case 'n':
      engine_.runs_at_once = !engine_.runs_at_once;
      return true;
    case 'q':
      disturbances_.has_refused = true;
      engine_.is_full = !engine_.is_full;
      return true;
    default:
      return false;
  }
}

bool Script::play_modules(char sign) {
  switch (sign) {
    case 'c':
      engine_.shelf.answer(false);
      return true;
    case 'C':
      engine_.shelf.answer(true);
      return true;
    case 'r':
      engine_.shelf.send_piece();
      return true;
    case 'd':
      disturbances_.has_dropped = true;
      engine_.shelf.drop();
      return true;
    case 'm':
      engine_.shelf.completes_at_once = !engine_.shelf.completes_at_once;
      return true;
    case 'y':
      engine_.answer_reload();
      return true;
    case 'g':
      engine_.replace();
      return true;
    case 'G':
      disturbances_.has_removed = true;
      engine_.remove();
      return true;
    case 'h':
      disturbances_.has_refused = true;
      engine_.rest(modules::RouteMark::kHold);
      return true;
    case 'j':
      disturbances_.has_refused = true;
      engine_.rest(modules::RouteMark::kReject);
      return true;
    case 'l':
      engine_.resume();
      return true;
    default:
      return false;
  }
}

void Script::pass(uint64_t ms) {
  disturbances_.passed_ms += ms;
  kernel_.pass(ms);
}

bool Script::are_all_closed() const {
  return std::all_of(peers_.begin(), peers_.end(), [](const PeerSeen& peer) {
    return peer.socket == nullptr || !peer.socket->is_open;
  });
}

// Everything that the peers have sent and will take.
void Script::let_flow() {
  for (const PeerSeen& peer : peers_) {
    if (peer.socket == nullptr || !peer.socket->is_open) continue;
    Socket& socket = *peer.socket;
    socket.has_unacknowledged = false;
    if (socket.window != SIZE_MAX) kernel_.open_window(socket, SIZE_MAX);
    kernel_.arrive(socket, SIZE_MAX);
  }
}

// All is quiet: what has arrived is read, without a further event to remind anyone of it.
void Script::end_peers() {
  for (const PeerSeen& peer : peers_) {
    if (peer.socket == nullptr || !peer.socket->is_open) continue;
    Socket& socket = *peer.socket;
    if (socket.has_end || socket.is_reset) continue;
    HRMR_CHECK_EQ(socket.read, socket.arrived);
    socket.taken_before_end = socket.taken.size();
    socket.has_end = true;
    kernel_.edge(socket);
  }
}

// False: nothing happens any more but what the engine's timers do.
bool Script::end_step(int limit_ms) {
  if (end_turns_++ == 0) ended_ms_ = kernel_.now_ms();
  HRMR_CHECK(end_turns_ < kEndTurnsMax);
  HRMR_CHECK(kernel_.now_ms() <= ended_ms_ + kEndMsMax);
  let_flow();
  if (engine_.bring_back() || kernel_.has_edges() || limit_ms == 0) return true;
  if (!std::exchange(have_peers_ended_, true)) {
    end_peers();
    return true;
  }
  if (!are_all_closed()) return false;
  return engine_.wind_up();
}

}  // namespace hrmr::fuzz
