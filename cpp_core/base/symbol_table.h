// SymbolTable: the names of the functions in an ELF file, looked up inside a signal handler.
//
// The functions of a module are hidden or static, so that dladdr, which sees exported ones only,
// does not know them; and it takes the loader's lock, which the thread that crashed may hold. So
// the file is read: .symtab if it has not been stripped, else .dynsym. With pread and not by
// mapping it: a file that is shorter than its headers say must not be a second crash.
//
// Threads: one.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hrmr {

class SymbolTable {
 public:
  explicit SymbolTable(const char* path);
  ~SymbolTable();
  SymbolTable(const SymbolTable&) = delete;
  SymbolTable& operator=(const SymbolTable&) = delete;

  // Where the byte at this offset of the file is, counted from where the file is mapped: what
  // addr2line takes. The offset itself when the file cannot be read.
  uint64_t address_of(uint64_t file_offset) const;
  // The symbol of the function around that address, in `room`, cut if it does not fit; empty: not
  // known.
  std::string_view find(uint64_t address, std::span<char> room) const;

 private:
  bool read(uint64_t offset, void* room, size_t bytes) const;
  std::string_view find_in(uint32_t section_type, uint64_t address, std::span<char> room) const;
  Elf64_Sym nearest(const Elf64_Shdr& symbols, uint64_t address) const;

  int fd_;
  Elf64_Ehdr head_{};  // zeros: not a file that we read
};

}  // namespace hrmr
