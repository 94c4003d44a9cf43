#include "base/call_site.h"

namespace hrmr {

constinit thread_local const CallSite* current_call = nullptr;

}  // namespace hrmr
