// A file that handlers send ranges of, and what its readers need; for the tests of files in
// replies.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "module_gallery.h"
#include "running_server.h"

namespace hrmr::test {

inline const hrmr_host& host() { return server::host_table(); }

inline std::string noise(size_t bytes) {
  std::mt19937 random(static_cast<unsigned>(bytes));  // NOLINT(cert-msc32-c,cert-msc51-cpp)
  std::string text(bytes, '\0');
  std::generate(text.begin(), text.end(), [&] { return static_cast<char>(random()); });
  return text;
}

// A file, open for the handlers.
struct Shop {
  explicit Shop(std::string text) : content(std::move(text)) {
    std::ofstream(path(), std::ios::binary) << content;
    fd = Fd(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(fd.is_open());
  }
  std::string path() const { return folder / "goods"; }

  TempFolder folder;
  std::string content;
  Fd fd;
};

// Numbers of "OFFSET/LENGTH/OFFSET/LENGTH..."; ends at the first byte that is neither.
inline std::vector<uint64_t> numbers_of(hrmr_bytes text) {
  std::vector<uint64_t> numbers(1);
  for (size_t i = 0; i < text.size; ++i) {
    const char c = text.data[i];
    if (c == '/') {
      numbers.push_back(0);
    } else if (c >= '0' && c <= '9') {
      numbers.back() = numbers.back() * 10 + static_cast<uint64_t>(c - '0');
    } else {
      break;
    }
  }
  return numbers;
}

// Each range of the file in brackets: "[...][...]".
inline int write_ranges(const std::vector<uint64_t>& numbers, hrmr_reply* reply, const Shop& shop) {
  for (size_t i = 0; i + 1 < numbers.size(); i += 2) {
    host().write(reply, HRMR_BYTES("["));
    const int result = host().send_file(reply, shop.fd.get(), numbers[i], numbers[i + 1]);
    if (result != HRMR_OK) return result;
    host().write(reply, HRMR_BYTES("]"));
  }
  return HRMR_OK;
}

inline int send_ranges(const hrmr_request* request, hrmr_reply* reply, void* context) {
  return write_ranges(numbers_of(request->rest), reply, *static_cast<const Shop*>(context));
}

inline std::string get(const std::string& target, const std::string& more = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + more + "\r\n";
}

// The body of one response, after a check of its length.
inline std::string body_of(const std::string& response) {
  const size_t head_end = response.find("\r\n\r\n");
  REQUIRE(head_end != std::string::npos);
  const std::string body = response.substr(head_end + 4);
  CHECK(contains(response.substr(0, head_end + 2),
                 "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n"));
  return body;
}

inline std::string ask(const Running& running, const std::string& target) {
  Client client = running.client();
  client.send(get(target, "Connection: close\r\n"));
  return client.rest();
}

inline size_t descriptors_of(const Shop& shop) {
  size_t count = 0;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    if (std::filesystem::read_symlink(entry.path(), gone) == shop.path()) ++count;
  }
  return count;
}

}  // namespace hrmr::test
