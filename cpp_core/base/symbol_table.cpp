#include "base/symbol_table.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace hrmr {

namespace {

constexpr size_t kSymbolsPerRead = 64;

bool is_around(const Elf64_Sym& symbol, uint64_t address) {
  if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) return false;
  // Assembly need not say how long a function is: then it goes up to the next.
  return symbol.st_value <= address &&
         (symbol.st_size == 0 || address - symbol.st_value < symbol.st_size);
}

}  // namespace

SymbolTable::SymbolTable(const char* path) : fd_(::open(path, O_RDONLY | O_CLOEXEC)) {
  Elf64_Ehdr head{};
  if (fd_ < 0 || !read(0, &head, sizeof head)) return;
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0) return;
  if (head.e_ident[EI_CLASS] == ELFCLASS64) head_ = head;
}

SymbolTable::~SymbolTable() {
  if (fd_ >= 0) ::close(fd_);
}

bool SymbolTable::read(uint64_t offset, void* room, size_t bytes) const {
  return ::pread(fd_, room, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

uint64_t SymbolTable::address_of(uint64_t file_offset) const {
  for (uint64_t i = 0; i < head_.e_phnum; ++i) {
    Elf64_Phdr segment{};
    if (!read(head_.e_phoff + i * sizeof segment, &segment, sizeof segment)) break;
    if (segment.p_type == PT_LOAD && file_offset >= segment.p_offset &&
        file_offset - segment.p_offset < segment.p_filesz) {
      return file_offset - segment.p_offset + segment.p_vaddr;
    }
  }
  return file_offset;
}

std::string_view SymbolTable::find(uint64_t address, std::span<char> room) const {
  const std::string_view name = find_in(SHT_SYMTAB, address, room);
  return name.empty() ? find_in(SHT_DYNSYM, address, room) : name;
}

std::string_view SymbolTable::find_in(uint32_t section_type, uint64_t address,
                                      std::span<char> room) const {
  for (uint64_t i = 0; i < head_.e_shnum; ++i) {
    Elf64_Shdr symbols{};
    Elf64_Shdr names{};
    if (!read(head_.e_shoff + i * sizeof symbols, &symbols, sizeof symbols)) return {};
    if (symbols.sh_type != section_type) continue;
    const Elf64_Sym symbol = nearest(symbols, address);
    const uint64_t names_at = head_.e_shoff + symbols.sh_link * sizeof names;
    if (symbol.st_name == 0 || !read(names_at, &names, sizeof names)) return {};
    const ssize_t got = ::pread(fd_, room.data(), room.size(),
                                static_cast<off_t>(names.sh_offset + symbol.st_name));
    if (got <= 0) return {};
    return {room.data(), ::strnlen(room.data(), static_cast<size_t>(got))};
  }
  return {};
}

// The last one that begins before the address and reaches it. All zeros: there is none.
Elf64_Sym SymbolTable::nearest(const Elf64_Shdr& symbols, uint64_t address) const {
  Elf64_Sym found{};
  Elf64_Sym some[kSymbolsPerRead];
  uint64_t offset = symbols.sh_offset;
  uint64_t left = symbols.sh_size / sizeof(Elf64_Sym);
  while (left != 0) {
    const size_t count = std::min<uint64_t>(left, kSymbolsPerRead);
    if (!read(offset, some, count * sizeof(Elf64_Sym))) break;
    for (size_t i = 0; i < count; ++i) {
      if (is_around(some[i], address) && some[i].st_value >= found.st_value) found = some[i];
    }
    offset += count * sizeof(Elf64_Sym);
    left -= count;
  }
  return found;
}

}  // namespace hrmr
