#include "modules/elf_check.h"

#include <cxxabi.h>
#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace hrmr::modules {

namespace {

#if defined(__x86_64__)
constexpr uint16_t kHostMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t kHostMachine = EM_AARCH64;
#elif defined(__riscv)
constexpr uint16_t kHostMachine = EM_RISCV;
#else
constexpr uint16_t kHostMachine = EM_NONE;  // not checked here; dlopen does
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
constexpr unsigned char kHostByteOrder = ELFDATA2LSB;
#else
constexpr unsigned char kHostByteOrder = ELFDATA2MSB;
#endif

// A copy of the T at `offset`: nothing in a file is aligned for sure. Zeros where the file ends.
template <class T>
T read_at(std::string_view bytes, uint64_t offset) {
  T value{};
  if (offset <= bytes.size() && bytes.size() - offset >= sizeof value) {
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  }
  return value;
}

// As many of the `count` Ts at `offset` as the file has.
template <class T>
std::vector<T> read_table(std::string_view bytes, uint64_t offset, uint64_t count) {
  std::vector<T> table;
  if (offset > bytes.size()) return table;
  const uint64_t present = std::min<uint64_t>(count, (bytes.size() - offset) / sizeof(T));
  for (uint64_t i = 0; i < present; ++i) {
    table.push_back(read_at<T>(bytes, offset + i * sizeof(T)));
  }
  return table;
}

std::string_view read_name(std::string_view bytes, uint64_t offset) {
  if (offset >= bytes.size()) return {};
  const std::string_view rest = bytes.substr(offset);
  const size_t end = rest.find('\0');
  return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
}

std::vector<Elf64_Phdr> read_segments(std::string_view bytes) {
  const auto head = read_at<Elf64_Ehdr>(bytes, 0);
  return read_table<Elf64_Phdr>(bytes, head.e_phoff, head.e_phnum);
}

std::vector<Elf64_Shdr> read_sections(std::string_view bytes) {
  const auto head = read_at<Elf64_Ehdr>(bytes, 0);
  if (head.e_shoff == 0) return {};
  return read_table<Elf64_Shdr>(bytes, head.e_shoff, head.e_shnum);
}

// The value of the first dynamic entry with that tag; 0: none.
uint64_t dynamic_value(std::string_view bytes, int64_t tag) {
  for (const Elf64_Phdr& segment : read_segments(bytes)) {
    if (segment.p_type != PT_DYNAMIC) continue;
    const uint64_t count = segment.p_filesz / sizeof(Elf64_Dyn);
    for (const Elf64_Dyn& entry : read_table<Elf64_Dyn>(bytes, segment.p_offset, count)) {
      if (entry.d_tag == DT_NULL) break;
      if (entry.d_tag == tag) return entry.d_un.d_val;
    }
  }
  return 0;
}

// Offset plus size, or the largest number when there is no such number: never within a file.
uint64_t end_of(uint64_t offset, uint64_t size) {
  return offset > UINT64_MAX - size ? UINT64_MAX : offset + size;
}

// How long the file must be by its own headers. `bytes` hold the ELF header at least.
uint64_t bytes_needed(std::string_view bytes) {
  const auto head = read_at<Elf64_Ehdr>(bytes, 0);
  uint64_t needed = end_of(head.e_phoff, head.e_phnum * sizeof(Elf64_Phdr));
  for (const Elf64_Phdr& segment : read_segments(bytes)) {
    needed = std::max(needed, end_of(segment.p_offset, segment.p_filesz));
  }
  if (head.e_shoff == 0) return needed;
  needed = std::max(needed, end_of(head.e_shoff, head.e_shnum * sizeof(Elf64_Shdr)));
  for (const Elf64_Shdr& section : read_sections(bytes)) {
    if (section.sh_type == SHT_NOBITS || section.sh_type == SHT_NULL) continue;
    needed = std::max(needed, end_of(section.sh_offset, section.sh_size));
  }
  return needed;
}

std::string incomplete(std::string_view bytes, uint64_t needed) {
  return "is incomplete (" + std::to_string(bytes.size()) + " bytes, needs " +
         std::to_string(needed) + "): it is still being written, or the build broke";
}

// What is wrong with the ELF header; empty: nothing. `bytes` hold one whole.
std::string header_fault(std::string_view bytes) {
  const auto head = read_at<Elf64_Ehdr>(bytes, 0);
  if (head.e_ident[EI_CLASS] != ELFCLASS64) return "is not a 64-bit library";
  if (head.e_ident[EI_DATA] != kHostByteOrder ||
      (kHostMachine != EM_NONE && head.e_machine != kHostMachine)) {
    return "was compiled for another machine (ELF machine " + std::to_string(head.e_machine) +
           ", this one is " + std::to_string(kHostMachine) + "): rebuild it here";
  }
  if (head.e_type == ET_REL) return "is an object file, not a shared library: link it with -shared";
  if (head.e_type == ET_EXEC) return "is a program, not a shared library: link it with -shared";
  if (head.e_type != ET_DYN) {
    return "is not a shared library (ELF type " + std::to_string(head.e_type) + ")";
  }
  if (head.e_phnum == 0 || head.e_phentsize != sizeof(Elf64_Phdr) ||
      (head.e_shoff != 0 && head.e_shnum != 0 && head.e_shentsize != sizeof(Elf64_Shdr))) {
    return "has a broken ELF header: the build broke";
  }
  return "";
}

std::string elf_fault(std::string_view bytes) {
  if (bytes.empty()) return "is empty: it is still being written, or the build broke";
  const std::string_view magic(ELFMAG, SELFMAG);
  // The linker writes the header last, so what is still being written can begin with zeros.
  if (bytes.substr(0, SELFMAG).find_first_not_of('\0') == std::string_view::npos) {
    return "begins with zeros: it is still being written, or the build broke";
  }
  if (bytes.substr(0, SELFMAG) != magic.substr(0, bytes.size())) return "is not an ELF file";
  if (bytes.size() < sizeof(Elf64_Ehdr)) return incomplete(bytes, sizeof(Elf64_Ehdr));
  std::string fault = header_fault(bytes);
  if (!fault.empty()) return fault;
  const uint64_t needed = bytes_needed(bytes);
  if (needed > bytes.size()) return incomplete(bytes, needed);
  if ((dynamic_value(bytes, DT_FLAGS) & DF_STATIC_TLS) != 0) {
    return "uses static (initial-exec) thread-local storage, of which a process has room for few "
           "loads only: compile everything in it with -fPIC and without -ftls-model=initial-exec";
  }
  return "";
}

std::string demangled(std::string_view symbol) {
  const std::string terminated(symbol);
  int result = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(
      abi::__cxa_demangle(terminated.c_str(), nullptr, nullptr, &result), &std::free);
  return result == 0 && name != nullptr ? name.get() : terminated;
}

// The first symbol of the table (SHT_DYNSYM, or SHT_SYMTAB if it was not stripped) for which
// `is_wanted` says true; empty: none.
template <class Predicate>
std::string find_symbol_in(std::string_view bytes, uint32_t table, const Predicate& is_wanted) {
  const std::vector<Elf64_Shdr> sections = read_sections(bytes);
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != table || section.sh_link >= sections.size()) continue;
    const uint64_t names = sections[section.sh_link].sh_offset;
    const uint64_t count = section.sh_size / sizeof(Elf64_Sym);
    for (const Elf64_Sym& symbol : read_table<Elf64_Sym>(bytes, section.sh_offset, count)) {
      const std::string_view name = read_name(bytes, end_of(names, symbol.st_name));
      if (is_wanted(symbol, name)) return std::string(name);
    }
  }
  return "";
}

template <class Predicate>
std::string find_symbol(std::string_view bytes, const Predicate& is_wanted) {
  return find_symbol_in(bytes, SHT_DYNSYM, is_wanted);
}

}  // namespace

Status check_elf(std::string_view bytes, std::string_view shown_path) {
  const std::string fault = elf_fault(bytes);
  return fault.empty() ? Status::ok() : Status::error(std::string(shown_path) + " " + fault);
}

std::string reasons_to_stay_mapped(std::string_view bytes) {
  std::vector<std::string> reasons;
  const std::string unique = find_symbol(bytes, [](const Elf64_Sym& symbol, std::string_view) {
    return ELF64_ST_BIND(symbol.st_info) == STB_GNU_UNIQUE && symbol.st_shndx != SHN_UNDEF;
  });
  if (!unique.empty()) {
    reasons.push_back("it has GNU-unique symbols, such as " + demangled(unique) +
                      ": compile it with -fno-gnu-unique");
  }
  if ((dynamic_value(bytes, DT_FLAGS_1) & DF_1_NODELETE) != 0) {
    reasons.emplace_back("it was linked with -z nodelete");
  }
  const std::string at_exit = find_symbol(bytes, [](const Elf64_Sym&, std::string_view name) {
    return name == "__cxa_thread_atexit" || name == "__cxa_thread_atexit_impl";
  });
  if (!at_exit.empty()) {
    reasons.emplace_back(
        "it has a thread_local with a destructor, which keeps it until the threads that used it "
        "end");
  }
  std::string text;
  for (const std::string& reason : reasons) text += (text.empty() ? "" : "; ") + reason;
  return text;
}

bool has_own_sqlite(std::string_view bytes) {
  const auto is_sqlite = [](const Elf64_Sym& symbol, std::string_view name) {
    return symbol.st_shndx != SHN_UNDEF &&
           (name == "sqlite3_open_v2" || name == "sqlite3_libversion");
  };
  return !find_symbol(bytes, is_sqlite).empty() ||
         !find_symbol_in(bytes, SHT_SYMTAB, is_sqlite).empty();
}

}  // namespace hrmr::modules
