#include "modules/elf_check.h"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <elf.h>

#include <cstddef>
#include <cstring>
#include <string>

#include "module_gallery.h"

using hrmr::modules::check_elf;
using hrmr::modules::has_own_sqlite;
using hrmr::modules::reasons_to_stay_mapped;
using hrmr::test::compiled;
using hrmr::test::contains;
using hrmr::test::good_module;

namespace {

template <class T>
std::string with(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  return bytes;
}

std::string fault_of(const std::string& bytes) { return check_elf(bytes, "x.so").message(); }

// Of the system's shared SQLite.
std::string sqlite_path() {
  void* const handle = ::dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);
  REQUIRE(handle != nullptr);
  Dl_info info{};
  REQUIRE(::dladdr(::dlsym(handle, "sqlite3_libversion"), &info) != 0);
  const std::string path = info.dli_fname;
  ::dlclose(handle);
  return path;
}

const std::string& good() { return good_module("good", "1", "GOOD"); }

}  // namespace

TEST_CASE("lets a whole shared library pass") { CHECK(fault_of(good()) == ""); }

TEST_CASE("refuses a library that is cut anywhere, and says how long it must be") {
  const std::string needs = "needs " + std::to_string(good().size());
  for (size_t bytes = sizeof(Elf64_Ehdr); bytes < good().size(); bytes += 97) {
    CAPTURE(bytes);
    const std::string fault = fault_of(good().substr(0, bytes));
    CHECK(contains(fault, "x.so is incomplete (" + std::to_string(bytes) + " bytes, needs "));
    CHECK(contains(fault, "it is still being written, or the build broke"));
  }
  CHECK(contains(fault_of(good().substr(0, good().size() - 1)), needs));
}

TEST_CASE("refuses what is shorter than an ELF header") {
  CHECK(contains(fault_of(""), "is empty"));
  CHECK(contains(fault_of("\x7f"), "is incomplete (1 bytes, needs 64)"));
  CHECK(contains(fault_of(good().substr(0, 63)), "is incomplete (63 bytes, needs 64)"));
}

TEST_CASE("refuses what is no ELF file") {
  CHECK(fault_of("import hrmr\n") == "x.so is not an ELF file");
  CHECK(contains(fault_of(std::string(4096, '\0')), "begins with zeros"));
}

TEST_CASE("refuses libraries for other machines") {
  CHECK(contains(fault_of(with<uint8_t>(good(), EI_CLASS, ELFCLASS32)), "not a 64-bit library"));
  CHECK(contains(fault_of(with<uint8_t>(good(), EI_DATA, ELFDATA2MSB)), "for another machine"));
  CHECK(contains(fault_of(with<uint16_t>(good(), offsetof(Elf64_Ehdr, e_machine), EM_68K)),
                 "for another machine"));
}

TEST_CASE("refuses object files and programs") {
  const size_t type = offsetof(Elf64_Ehdr, e_type);
  CHECK(contains(fault_of(with<uint16_t>(good(), type, ET_REL)), "is an object file"));
  CHECK(contains(fault_of(with<uint16_t>(good(), type, ET_EXEC)), "is a program"));
  CHECK(contains(fault_of(with<uint16_t>(good(), type, ET_CORE)), "is not a shared library"));
}

TEST_CASE("refuses headers whose sums do not fit in 64 bits") {
  CHECK(contains(fault_of(with<uint64_t>(good(), offsetof(Elf64_Ehdr, e_phoff), UINT64_MAX - 8)),
                 "is incomplete"));
  CHECK(contains(fault_of(with<uint64_t>(good(), offsetof(Elf64_Ehdr, e_shoff), UINT64_MAX - 8)),
                 "is incomplete"));
  const size_t filesz = sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_filesz);
  CHECK(contains(fault_of(with<uint64_t>(good(), filesz, UINT64_MAX)), "is incomplete"));
}

TEST_CASE("reads no byte outside of the file, whatever the header says") {
  // Under the address sanitizer each of these would be found.
  std::string bytes = good();
  for (size_t offset = 0; offset < sizeof(Elf64_Ehdr) + 8 * sizeof(Elf64_Phdr); ++offset) {
    for (const uint8_t value : {0x00, 0x7f, 0xff}) {
      const std::string broken = with<uint8_t>(bytes, offset, value);
      const std::string exact(broken.data(), broken.size());
      if (check_elf(exact, "x.so").is_ok()) {
        (void)reasons_to_stay_mapped(exact);
        (void)has_own_sqlite(exact);
      }
    }
  }
  CHECK(fault_of(bytes) == "");
}

TEST_CASE("refuses static thread-local storage") {
  const std::string fault = fault_of(compiled("static_tls.c"));
  CHECK(contains(fault, "initial-exec"));
  CHECK(contains(fault, "-fPIC"));
}

TEST_CASE("knows why a library stays mapped") {
  CHECK(reasons_to_stay_mapped(good()) == "");
  CHECK(contains(reasons_to_stay_mapped(compiled("gnu_unique.cpp", {"-fgnu-unique"})),
                 "Registered::instance()"));
  CHECK(contains(reasons_to_stay_mapped(compiled("no_delete.c", {"-Wl,-z,nodelete"})),
                 "-z nodelete"));
  CHECK(contains(reasons_to_stay_mapped(compiled("thread_local_destructor.cpp")),
                 "thread_local with a destructor"));
}

TEST_CASE("knows a copy of SQLite from a use of the system's") {
  CHECK(has_own_sqlite(compiled("own_sqlite.c")));
  CHECK(has_own_sqlite(compiled("own_sqlite.c", {"-DHIDDEN"})));
  CHECK(has_own_sqlite(hrmr::test::read_file(sqlite_path())));
  CHECK_FALSE(has_own_sqlite(compiled("shared_sqlite.c", {"-Wl,--no-as-needed", "-lsqlite3"})));
  CHECK_FALSE(has_own_sqlite(good()));
}
