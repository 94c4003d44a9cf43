// readable_name: the name of a C++ function as people write it, from its symbol, inside a signal
// handler. abi::__cxa_demangle allocates and so cannot be used there.
//
// Rules: the Itanium C++ ABI, section 5.1 (mangling): of its names only plain ones, nested or not,
// which is what handlers of modules have. Parameters are left out.
#pragma once

#include <span>
#include <string_view>

namespace hrmr {

// "_ZN5users9find_userERKN4hrmr7RequestE" is "users::find_user(...)". Other symbols (C functions,
// templates, lambdas, operators) are given back as they are. The result is `symbol` or in `room`.
std::string_view readable_name(std::string_view symbol, std::span<char> room);

}  // namespace hrmr
