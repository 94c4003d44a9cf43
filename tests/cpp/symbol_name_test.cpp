#include "base/symbol_name.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

namespace hrmr {
namespace {

std::string read(std::string_view symbol) {
  std::array<char, 64> room{};
  return std::string(readable_name(symbol, room));
}

TEST_CASE("names of functions are read, their parameters left out") {
  CHECK(read("_Z5crashv") == "crash(...)");
  CHECK(read("_ZL5crashRKN4hrmr7RequestERNS_5ReplyE") == "crash(...)");
  CHECK(read("_ZN5users9find_userERKN4hrmr7RequestE") == "users::find_user(...)");
  CHECK(read("_ZN12_GLOBAL__N_15crashEv") == "(anonymous namespace)::crash(...)");
  CHECK(read("_ZN5stock12_GLOBAL__N_1L7give_upEv") == "stock::(anonymous namespace)::give_up(...)");
  CHECK(read("_ZSt9terminatev") == "std::terminate(...)");
  CHECK(read("_ZNSt6thread4joinEv") == "std::thread::join(...)");
}

TEST_CASE("names of member functions are read") {
  CHECK(read("_ZNK5Store4findEi") == "Store::find(...)");
  CHECK(read("_ZNKR5Store4findEi") == "Store::find(...)");
  CHECK(read("_ZN1a5StoreC2Ev") == "a::Store::Store(...)");
  CHECK(read("_ZN1a5StoreD1Ev") == "a::Store::~Store(...)");
}

TEST_CASE("what is no plain name is given back as it is") {
  for (const char* symbol :
       {"", "crash", "write_nowhere.constprop.0", "_Z", "_ZN", "_ZNE", "_Z9", "_Z9abc", "_Z0v",
        "_Z99999999999999999999999999a", "_ZN5users", "_ZN5StoreplERKS_", "_Z4findIiEvT_",
        "_ZN5StoreIiE4findEv", "_ZZ4loadvENKUlvE_clEv", "_ZNC2Ev", "_ZTV5Store"}) {
    CAPTURE(symbol);
    CHECK(read(symbol) == symbol);
  }
}

TEST_CASE("a symbol that is cut anywhere is no accident") {
  const std::string whole = "_ZN5stock12_GLOBAL__N_17give_upERKN4hrmr7RequestE";
  for (size_t size = 0; size <= whole.size(); ++size) {
    // Of its own, so that a read past the end is one that sanitizers see.
    const std::string cut(whole.data(), size);
    CHECK_FALSE((read(cut).empty() && size != 0));
  }
}

TEST_CASE("a name that has no room is given back as it is") {
  const std::string symbol = "_Z60" + std::string(60, 'a') + "v";  // with "(...)" 65 bytes
  CHECK(read(symbol) == symbol);
  CHECK(read("_Z59" + std::string(59, 'a') + "v") == std::string(59, 'a') + "(...)");
}

}  // namespace
}  // namespace hrmr
