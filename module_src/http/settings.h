// Settings: the table [modules.http] of hrmr.toml, as the values it stands for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace http {

struct Settings {
  std::string root;                        // absolute
  std::string index = "index.html";        // names of which a folder shows the first that is there
  std::string cache_control = "no-cache";  // empty: the header is not sent
  bool is_precompressed = true;            // siblings .br and .gz are looked for
  size_t cache_entries = 1024;             // 0: nothing is cached
  size_t cache_bytes = size_t{32} << 20;
  size_t cache_file_bytes = size_t{64} << 10;  // larger files are sent from the disk
  int64_t check_ms = 0;
};

constexpr uint64_t kCacheEntriesMax = 1'000'000;
constexpr uint64_t kCacheBytesMax = uint64_t{64} << 30;
constexpr uint64_t kCacheFileBytesMax = uint64_t{16} << 20;
constexpr uint64_t kCheckMsMax = 3'600'000;
constexpr size_t kIndexNamesMax = 8;

// All throw std::runtime_error, which names the key, the value and what it may be.

[[noreturn]] inline void refuse_setting(std::string_view key, std::string_view value,
                                        std::string_view rule) {
  std::string message("[modules.http] ");
  message.append(key).append(" = \"").append(value).append("\": ").append(rule);
  throw std::runtime_error(message);
}

// "4096", or with a unit: "64K", "32M", "1G". Up to `most`.
inline uint64_t parse_size(std::string_view key, std::string_view text, uint64_t most) {
  const std::string rule =
      "must be 0 to " + std::to_string(most) + " bytes, such as 4096, \"64K\" or \"32M\"";
  std::string_view digits = text;
  uint64_t unit = 1;
  if (!digits.empty()) {
    const char last = digits.back();
    if (last == 'K' || last == 'k') unit = uint64_t{1} << 10;
    if (last == 'M' || last == 'm') unit = uint64_t{1} << 20;
    if (last == 'G' || last == 'g') unit = uint64_t{1} << 30;
    if (unit != 1) digits.remove_suffix(1);
  }
  uint64_t number = 0;
  if (digits.empty() || digits.size() > 18) refuse_setting(key, text, rule);
  for (const char c : digits) {
    if (c < '0' || c > '9') refuse_setting(key, text, rule);
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (number > most / unit) refuse_setting(key, text, rule);
  return number * unit;
}

inline uint64_t parse_number(std::string_view key, std::string_view text, uint64_t most) {
  const std::string rule = "must be a whole number, 0 to " + std::to_string(most);
  uint64_t number = 0;
  if (text.empty() || text.size() > 18) refuse_setting(key, text, rule);
  for (const char c : text) {
    if (c < '0' || c > '9') refuse_setting(key, text, rule);
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (number > most) refuse_setting(key, text, rule);
  return number;
}

inline bool parse_switch(std::string_view key, std::string_view text) {
  if (text != "true" && text != "false") refuse_setting(key, text, "must be true or false");
  return text == "true";
}

// Takes the first of the names that are separated by spaces off `list`; empty when there is none.
inline std::string_view take_name(std::string_view& list) {
  while (!list.empty() && list.front() == ' ') list.remove_prefix(1);
  const std::string_view name = list.substr(0, list.find(' '));
  list.remove_prefix(name.size());
  return name;
}

// Such a list: "index.html index.htm". None of the names may lead out of its folder.
inline std::string parse_index(std::string_view key, std::string_view text) {
  std::string_view rest = text;
  size_t count = 0;
  for (std::string_view name = take_name(rest); !name.empty(); name = take_name(rest), ++count) {
    if (name == "." || name == ".." || name.find('/') != std::string_view::npos)
      refuse_setting(key, text, "must be names of files, without a '/'");
  }
  if (count == 0 || count > kIndexNamesMax)
    refuse_setting(key, text, "must be 1 to 8 names of files, separated by spaces");
  return std::string(text);
}

// What a header may hold (RFC 9110 section 5.5), as far as it is ASCII.
inline std::string parse_header_value(std::string_view key, std::string_view text) {
  for (const char c : text) {
    if (c < 0x20 || c > 0x7e) refuse_setting(key, text, "must be printable ASCII, on one line");
  }
  return std::string(text);
}

}  // namespace http
