// Runs a fuzz target on files: the arguments, and all files in those that are folders. For builds
// without libFuzzer, and for the test suite.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

namespace {

std::vector<std::filesystem::path> files_of(int count, char** arguments) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < count; ++i) {
    if (!std::filesystem::is_directory(arguments[i])) {
      files.emplace_back(arguments[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(arguments[i])) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool run(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  // Of exactly that size, so that the address sanitizer sees a read past the end.
  const std::unique_ptr<uint8_t[]> input(new uint8_t[content.size()]);
  std::copy(content.begin(), content.end(), input.get());
  std::printf("%s, %zu bytes\n", path.c_str(), content.size());
  std::fflush(stdout);  // the last one printed is the one that failed
  LLVMFuzzerTestOneInput(input.get(), content.size());
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::filesystem::path> files = files_of(count, arguments);
  for (const std::filesystem::path& path : files) {
    if (run(path)) continue;
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    return 1;
  }
  std::printf("%zu inputs\n", files.size());
  return files.empty() ? 1 : 0;
}
