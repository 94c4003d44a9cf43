#include "base/output.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <string>

using namespace hrmr;

namespace {

FileRange range_of(uint64_t offset) {
  FileRange range;
  range.fd = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  range.offset = offset;
  range.left = 1;
  return range;
}

// Sends all of it: bytes as they are, a file as "<offset>", in steps of at most `step` bytes.
std::string sent(Output& output, size_t step) {
  std::string text;
  while (!output.is_empty()) {
    const size_t ready = output.bytes_ready();
    if (ready == 0) {
      text += "<" + std::to_string(output.first_file().offset) + ">";
      output.remove_first_file();
      continue;
    }
    const size_t bytes = ready < step ? ready : step;
    text += output.view().substr(0, bytes);
    output.consume(bytes);
  }
  CHECK(output.size() == 0);
  CHECK(output.file_count() == 0);
  return text;
}

}  // namespace

TEST_CASE("files are sent between the bytes that they were put between") {
  for (const size_t step : {1u, 2u, 100u}) {
    Output output;
    for (int round = 0; round < 3; ++round) {
      output.add_file(range_of(1));
      output.append("ab");
      output.add_file(range_of(2));
      output.add_file(range_of(3));
      output.append("cde");
      CHECK(sent(output, step) == "<1>ab<2><3>cde");
      output.append("gone");
      CHECK(sent(output, step) == "gone");
    }
  }
}

TEST_CASE("an output is not empty while a file is left") {
  Output output;
  CHECK(output.is_empty());
  output.add_file(range_of(1));
  CHECK_FALSE(output.is_empty());
  CHECK(output.bytes_ready() == 0);
  output.lend(ByteBuffer());
  CHECK(output.file_count() == 1);
  output.clear();
  CHECK(output.is_empty());
}

TEST_CASE("one output behind another keeps the places of both") {
  for (const size_t consumed : {0u, 1u, 3u}) {
    Output first;
    first.append("xyz");
    first.add_file(range_of(1));
    first.append("a");
    first.consume(consumed);
    Output second;
    second.append("pq");
    second.add_file(range_of(2));
    second.append("r");
    second.consume(1);
    first.append(second);
    CHECK(second.is_empty());
    CHECK(sent(first, 100) == std::string("xyz").substr(consumed) + "<1>aq<2>r");
    second.append(first);
    second.append("s");
    CHECK(sent(second, 100) == "s");
  }
}

TEST_CASE("an empty output takes over the memory of another") {
  Output full;
  full.append("ab");
  full.add_file(range_of(1));
  full.consume(1);
  const char* bytes = full.data();
  Output empty;
  empty.append(full);
  CHECK(empty.data() == bytes);
  CHECK(full.is_empty());
  CHECK(sent(empty, 100) == "b<1>");
}

TEST_CASE("files move with the bytes behind which they are, and can be dropped again") {
  Output output;
  output.append("ab");
  output.add_file(range_of(1));
  output.append("c");
  output.add_file(range_of(2));
  output.append("d");
  output.move_files(1, -1);
  output.add_file(range_of(3));
  output.drop_files(2);
  CHECK(sent(output, 1) == "ab<1><2>cd");
  output.append("xx");
  output.add_file(range_of(4));
  output.append("y");
  output.move_files(0, 1);
  CHECK(sent(output, 100) == "xxy<4>");
}

TEST_CASE("many files are as much a reason to wait as many bytes") {
  Output output;
  for (size_t i = 0; i < limits::kOutputFilesHigh; ++i) {
    CHECK_FALSE(output.is_high());
    output.add_file(range_of(i));
  }
  CHECK(output.is_high());
  output.remove_first_file();
  CHECK_FALSE(output.is_high());
  output.append(std::string(limits::kOutputHighBytes, 'x'));
  CHECK_FALSE(output.is_high());
  output.append("x");
  CHECK(output.is_high());
}
