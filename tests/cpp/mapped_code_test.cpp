#include "base/mapped_code.h"

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "base/symbol_table.h"
#include "module_gallery.h"

namespace hrmr {
namespace {

using test::TempFolder;

// "NAME generation N", or "none".
std::string read(std::string_view path) {
  const PrivateCopy copy = private_copy_at(path);
  if (copy.module.empty()) return "none";
  return std::string(copy.module) + " generation " + std::to_string(copy.generation);
}

std::string function_at(uint64_t address) {
  MappedCode code;
  if (!find_mapped_code(address, code)) return "nothing mapped";
  const SymbolTable symbols(code.path);
  char room[128];
  return std::string(symbols.find(symbols.address_of(code.file_offset), room));
}

TEST_CASE("private copies are known by their paths") {
  CHECK(read("/tmp/hrmr-a1B2c3/users.g3.so") == "users generation 3");
  CHECK(read("/tmp/hrmr-a1B2c3/a-b_c.g12.so") == "a-b_c generation 12");
  CHECK(read("/tmp/hrmr-a1B2c3/users.g3.2.so") == "users generation 3");
  CHECK(read("/tmp/hrmr-a1B2c3/users.g3.so (deleted)") == "users generation 3");
  CHECK(read("hrmr-a1B2c3/users.g3.so") == "users generation 3");
}

TEST_CASE("other files are no private copies") {
  for (const char* path : {"", "/", "users.g3.so", "/usr/lib/users.g3.so", "/tmp/hrmr-a1/x.g3.so",
                           "/tmp/hrmr-a1B2c3/users.so", "/tmp/hrmr-a1B2c3/users.g.so",
                           "/tmp/hrmr-a1B2c3/users.g3", "/tmp/hrmr-a1B2c3/.g3.so",
                           "/tmp/hrmr-a1B2c3/users.g3.x.so", "/tmp/hrmr-a1B2c3/sub/users.g3.so"}) {
    CAPTURE(path);
    CHECK(read(path) == "none");
  }
}

TEST_CASE("code is found in the file that it came from") {
  MappedCode code;
  REQUIRE(find_mapped_code(reinterpret_cast<uint64_t>(&find_mapped_code), code));
  std::error_code error;
  CHECK(std::string(code.path) == std::filesystem::read_symlink("/proc/self/exe", error));
  CHECK(code.file_offset != 0);
  CHECK(code.is_executable);
}

TEST_CASE("what is mapped without a file has no path") {
  MappedCode code;
  CHECK_FALSE(find_mapped_code(0, code));
  CHECK_FALSE(find_mapped_code(UINT64_MAX, code));
  const int on_stack = 0;
  REQUIRE(find_mapped_code(reinterpret_cast<uint64_t>(&on_stack), code));
  CHECK(std::string(code.path).empty());
  CHECK_FALSE(code.is_executable);
}

struct Loaded {
  explicit Loaded(const std::string& library) {
    test::write_file(path, library);
    handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    REQUIRE(handle != nullptr);
    entry = static_cast<const hrmr_module*>(::dlsym(handle, "hrmr_module_v1"));
    REQUIRE(entry != nullptr);
  }
  ~Loaded() { ::dlclose(handle); }

  const TempFolder folder;
  const std::string path = folder / "good.so";
  void* handle = nullptr;
  const hrmr_module* entry = nullptr;
};

TEST_CASE("static functions of a library are found by name") {
  const Loaded good(test::compiled("good.c"));
  const auto load = reinterpret_cast<uint64_t>(good.entry->load);
  const auto unload = reinterpret_cast<uint64_t>(good.entry->unload);
  CHECK(function_at(load) == "load");
  CHECK(function_at(load + 1) == "load");
  CHECK(function_at(unload) == "unload");
  // Neither ends where nobody knows: the padding before it is no part of the one before.
  CHECK(function_at(unload - 1) != "unload");
}

TEST_CASE("a stripped library has no names for static functions") {
  const Loaded good(test::compiled("good.c", {"-s"}));
  CHECK(function_at(reinterpret_cast<uint64_t>(good.entry->load)).empty());
}

TEST_CASE("exported functions of a stripped library are found by name") {
  CHECK(
      function_at(reinterpret_cast<uint64_t>(::dlsym(RTLD_DEFAULT, "getpid"))).ends_with("getpid"));
}

TEST_CASE("names are cut to the room there is") {
  const Loaded good(test::compiled("good.c"));
  MappedCode code;
  REQUIRE(find_mapped_code(reinterpret_cast<uint64_t>(good.entry->load), code));
  const SymbolTable symbols(code.path);
  char room[3];
  CHECK(symbols.find(symbols.address_of(code.file_offset), room) == "loa");
}

TEST_CASE("a broken file has no names, at whatever size it was cut") {
  const std::string library = test::compiled("good.c");
  const TempFolder folder;
  const std::string path = folder / "cut.so";
  Elf64_Ehdr head{};
  REQUIRE(library.size() > sizeof head);
  std::memcpy(&head, library.data(), sizeof head);
  // The section headers, which say where names are, come last.
  for (size_t size = 0; size < head.e_shoff + sizeof(Elf64_Shdr); size += library.size() / 64) {
    test::write_file(path, library.substr(0, size));
    const SymbolTable symbols(path.c_str());
    char room[64];
    CHECK(symbols.find(symbols.address_of(0x1100), room).empty());
  }
  const SymbolTable missing((folder / "none.so").c_str());
  char room[64];
  CHECK(missing.find(missing.address_of(0x1100), room).empty());
  CHECK(missing.address_of(0x1100) == 0x1100);
}

}  // namespace
}  // namespace hrmr
