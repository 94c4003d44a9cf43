// The texts of a ReloadReport (registry.h).

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "modules/registry.h"

namespace hrmr::modules {

namespace {

std::string ms_text(double ms) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%.1f ms", ms);
  return text.data();
}

std::string in_ms(double ms) { return " in " + ms_text(ms); }

// A compiler's or Python's message can have several lines; an outcome has one.
std::string one_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return text;
}

// In the order of the sum: what somebody must look at comes first.
constexpr std::array<std::pair<Change, const char*>, 5> kWords = {{
    {Change::kFailed, "failed"},
    {Change::kLoaded, "loaded"},
    {Change::kReloaded, "reloaded"},
    {Change::kRemoved, "removed"},
    {Change::kUnchanged, "unchanged"},
}};

std::string word_of(Change change) {
  for (const auto& [each, word] : kWords) {
    if (each == change) return word;
  }
  return "";
}

}  // namespace

bool ReloadReport::has_failures() const {
  return std::any_of(outcomes.begin(), outcomes.end(),
                     [](const Outcome& outcome) { return outcome.change == Change::kFailed; });
}

std::string to_text(const Outcome& outcome) {
  const std::string begin = word_of(outcome.change) + " " + one_line(outcome.name);
  const std::string now = std::to_string(outcome.generation);
  const std::string note = outcome.note.empty() ? "" : "; note: " + one_line(outcome.note);
  const std::string before = std::to_string(outcome.old_generation);
  switch (outcome.change) {
    case Change::kLoaded:
      return begin + " generation " + now + in_ms(outcome.ms) + note;
    case Change::kReloaded:
      return begin + " generation " + before + " -> " + now + in_ms(outcome.ms) + note;
    case Change::kUnchanged:
      return begin + " generation " + now + note;
    case Change::kRemoved:
      return begin + " generation " + before + in_ms(outcome.ms) + note;
    case Change::kFailed:
      break;
  }
  const std::string serving = outcome.generation == 0 ? "" : " (generation " + now + " serves on)";
  // Behind a reason " in 0.4 ms" would read as a part of it.
  return begin + ": " + one_line(outcome.message) + serving + " (" + ms_text(outcome.ms) + ")" +
         note;
}

std::string to_text(const ReloadReport& report) {
  std::string text;
  for (const Outcome& outcome : report.outcomes) text += to_text(outcome) + "\n";
  std::string sum;
  for (const auto& [change, word] : kWords) {
    size_t count = 0;
    for (const Outcome& outcome : report.outcomes) count += outcome.change == change ? 1 : 0;
    if (count == 0) continue;
    sum += (sum.empty() ? "" : ", ") + std::to_string(count) + " " + word;
  }
  if (sum.empty()) sum = "no modules";
  sum += in_ms(report.ms);
  if (report.kept_images != 0) {
    sum += "; " + std::to_string(report.kept_images) +
           (report.kept_images == 1 ? " old generation" : " old generations") +
           " cannot be unloaded";
  }
  return text + (report.has_failures() ? "ERR " : "OK ") + sum + "\n";
}

}  // namespace hrmr::modules
