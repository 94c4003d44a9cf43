#include "base/crash_report.h"

#include <sys/prctl.h>

#include "base/call_site.h"
#include "base/limits.h"
#include "base/mapped_code.h"
#include "base/signal_text.h"
#include "base/symbol_name.h"
#include "base/symbol_table.h"

namespace hrmr {

namespace {

std::string_view name_of_signal(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    case SIGABRT:
      return "SIGABRT";
    default:
      return "a signal";
  }
}

bool is_fault_with_address(const Crash& crash) {
  return crash.code > 0 && (crash.signal == SIGSEGV || crash.signal == SIGBUS);
}

// The instruction, of which a return address is the one behind: that may belong to the next
// function.
uint64_t instruction_at(const Crash& crash, size_t index) {
  const auto address = reinterpret_cast<uint64_t>(crash.frames[index]);
  return index == 0 && crash.is_exact ? address : address - 1;
}

// The innermost frame in a module's code; `code` keeps its path.
PrivateCopy find_module(const Crash& crash, MappedCode& code) {
  for (size_t i = 0; i < crash.frame_count; ++i) {
    if (!find_mapped_code(instruction_at(crash, i), code)) continue;
    const PrivateCopy copy = private_copy_at(code.path);
    if (!copy.module.empty()) return copy;
  }
  return {};
}

void write_module(SignalText& out, std::string_view module, uint64_t generation) {
  out.text(" in module '").shown(module).text("', generation ").number(generation);
}

// True: it was a module.
bool write_place(SignalText& out, const Crash& crash) {
  if (const CallSite* const call = current_call; call != nullptr) {
    write_module(out, call->module, call->generation);
    if (call->is_route) {
      out.text(", route '").shown(call->what).text("', request of ");
      out.number(call->request_bytes).text(" bytes");
    } else {
      out.text(", in its ").text(call->what);
    }
    return true;
  }
  MappedCode code;
  const PrivateCopy copy = find_module(crash, code);
  if (copy.module.empty()) {
    out.text(" outside of any module");
    return false;
  }
  write_module(out, copy.module, copy.generation);
  out.text(", in a thread of its own");
  return true;
}

void write_frame(SignalText& out, const Crash& crash, size_t index) {
  out.text("  #").number(index).text(" ");
  const uint64_t address = instruction_at(crash, index);
  MappedCode code;
  const bool is_mapped = find_mapped_code(address, code);
  if (!is_mapped || code.path[0] == '\0') {
    const bool is_code = is_mapped && code.is_executable;
    out.hex(address).text(is_code ? "  (not of a file)\n" : "  (no code is there)\n");
    return;
  }
  const std::string_view path(code.path);
  const PrivateCopy copy = private_copy_at(path);
  if (copy.module.empty()) {
    out.shown(path.substr(path.rfind('/') + 1));
  } else {
    out.shown(copy.module).text(".so (generation ").number(copy.generation).text(")");
  }
  const SymbolTable symbols(code.path);
  const uint64_t in_file = symbols.address_of(code.file_offset);
  out.text(" + ").hex(in_file);
  char symbol_room[limits::kSymbolBytesMax];
  char name_room[limits::kSymbolBytesMax];
  const std::string_view symbol = symbols.find(in_file, symbol_room);
  if (!symbol.empty()) out.text("  ").shown(readable_name(symbol, name_room));
  out.text("\n");
}

}  // namespace

bool write_crash_head(const Crash& crash, int fd) {
  SignalText out(fd);
  out.text("hrmr: fatal: ").text(name_of_signal(crash.signal));
  bool is_module = false;
  if (crash.sender != 0) {
    out.text(" sent by process ").number(static_cast<uint64_t>(crash.sender));
  } else {
    if (is_fault_with_address(crash)) out.text(" (address ").hex(crash.fault_address).text(")");
    is_module = write_place(out, crash);
  }
  char thread[16] = {};
  ::prctl(PR_GET_NAME, thread);
  out.text(", thread ").shown(thread).text("\n");
  if (!crash.exception.empty()) {
    out.text("uncaught exception ").shown(crash.exception).text("\n");
  }
  return is_module;
}

void write_crash_frames(const Crash& crash, bool is_module, int fd) {
  SignalText out(fd);
  for (size_t i = 0; i < crash.frame_count; ++i) {
    write_frame(out, crash, i);
    out.flush();
  }
  if (is_module) {
    out.text(
           "hrmr: the process ends, because modules run inside of it. The module is to be fixed: ")
        .text("see \"Crashes\" in docs/modules.md\n");
  } else {
    out.text("hrmr: the process ends\n");
  }
}

}  // namespace hrmr
