// PrefixIndex: which route holds which prefix, while routes are collected; finds the one that
// another would collide with. (RouteTable answers requests; this answers registrations.)
//
// `line` and `http` tell their requests apart, so they may share a prefix. A raw route takes every
// request that begins with its prefix, so it shares that prefix with no other route. Commands share
// with all but commands: each can be called as an array whatever lines look like.
//
// Lifetime: the routes outlive the index. Threads: a value; no sharing.
#pragma once

#include <array>
#include <string_view>
#include <unordered_map>

#include "modules/module.h"

namespace hrmr::modules {

class PrefixIndex {
 public:
  // The route that cannot be registered beside that one; null: none.
  const Route* find_conflict(std::string_view prefix, RouteFraming framing) const {
    const auto found = holders_.find(prefix);
    if (found == holders_.end()) return nullptr;
    for (const Route* holder : found->second) {
      if (holder == nullptr) continue;
      if (holder->framing == framing) return holder;
      if (holder->framing == RouteFraming::kCommand || framing == RouteFraming::kCommand) continue;
      const bool is_raw = holder->framing == RouteFraming::kRaw || framing == RouteFraming::kRaw;
      if (is_raw) return holder;
    }
    return nullptr;
  }

  void add(const Route& route) {
    holders_[route.prefix][static_cast<size_t>(route.framing)] = &route;
  }

 private:
  std::unordered_map<std::string_view, std::array<const Route*, kRouteFramings>> holders_;
};

}  // namespace hrmr::modules
