// Fault: what leaves load is of a type whose code and texts go with the module.
#include <hrmr/abi.h>

#include <exception>

namespace {

class OwnError : public std::exception {
 public:
  const char* what() const noexcept override { return "a text of the module's own"; }
};

int load(hrmr_load*) { throw OwnError(); }

}  // namespace

HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
    sizeof(hrmr_module), HRMR_ABI, "throws_own_type", "1", load, nullptr};
