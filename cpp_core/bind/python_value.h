// What a Python command returns, as the value that its client gets: None, bool, int (64 bits),
// float, str, bytes, and lists, tuples, sets and dicts of these.
//
// Threads: any that holds the GIL.
#pragma once

#include <pybind11/pybind11.h>

#include "server/host_table.h"

namespace hrmr::bind {

// Throws a Python exception that names the type that is no value, or the bound that was passed.
void write_value(wire::ValueWriter& out, const pybind11::handle& value);

}  // namespace hrmr::bind
