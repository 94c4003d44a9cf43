// Whole connections on a scripted kernel: the input says what arrives when, what the peers take,
// which calls fail, when jobs and deferred replies come back, when modules are reloaded.
//
// The input: the script, then, behind a byte 0xff each, what each peer sends.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "stage/script.h"
#include "stage/verdict.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace hrmr::fuzz;
  constexpr char kSeparator = '\xff';
  std::string_view rest(reinterpret_cast<const char*>(bytes), size);
  std::vector<std::string_view> parts;
  while (parts.size() <= kPeersMax) {
    const std::string_view part = rest.substr(0, rest.find(kSeparator));
    parts.push_back(part);
    if (part.size() == rest.size()) break;
    rest.remove_prefix(part.size() + 1);
  }
  Script script(parts.front(), {parts.begin() + 1, parts.end()});
  script.run();
  for (const PeerSeen& peer : script.peers()) {
    check_replies(peer, script.disturbances(), script.has_raw());
  }
  return 0;
}
