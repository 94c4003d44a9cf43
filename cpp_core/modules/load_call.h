// A compiled module's load and save_state, called through the C ABI: what the module says through
// the host table is gathered here, checked, and handed back as values of ours.
//
// Threads: the reload thread; the host functions (fill_load_functions) as abi.h tags them.
#pragma once

#include <hrmr/abi.h>

#include <string>

#include "base/status.h"
#include "modules/image.h"

namespace hrmr::modules {

// The host-table functions of loading and saving: add_route, add_command, add_timer, config,
// set_error, save, save_error, log. The server adds those of replies, and size, abi and version.
void fill_load_functions(hrmr_host& host);

// What is wrong with the exported struct of the module in the file of that name; empty: nothing.
std::string entry_fault(const hrmr_module& entry, const std::string& name);

// The exported struct as the newest ABI has it: fields that the module's own header lacked are
// zero.
hrmr_module read_entry(const hrmr_module& entry);

struct LoadCallSite {
  const hrmr_host* host = nullptr;
  hrmr_context* context = nullptr;
  uint64_t generation = 0;
};

// Runs entry.load. `has_loaded`: it returned HRMR_OK, so unload(state) must follow, also when the
// result is an error (a route that was refused and not minded).
Result<Registrations> call_load(const hrmr_module& entry, const LoadCallSite& site,
                                const LoadArguments& arguments, void*& state, bool& has_loaded);

// Runs entry.save_state, which is there.
Result<SavedState> call_save_state(const hrmr_module& entry, const hrmr_host& host, void* state);

}  // namespace hrmr::modules
