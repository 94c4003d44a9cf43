#include "base/byte_buffer.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <utility>

namespace {

using hrmr::BufferPool;
using hrmr::ByteBuffer;
namespace limits = hrmr::limits;

}  // namespace

TEST_CASE("a new buffer owns no memory") {
  ByteBuffer buffer;
  CHECK(buffer.capacity() == 0);
  CHECK(buffer.is_empty());
  CHECK(buffer.view().empty());
  buffer.append("");
  buffer.consume(0);
  buffer.truncate(0);
  CHECK(buffer.capacity() == 0);
}

TEST_CASE("what is appended comes out in order, whatever the steps") {
  std::mt19937 random(3);
  ByteBuffer buffer;
  std::string expected;
  size_t wrong = 0;
  for (int step = 0; step < 5000; ++step) {
    switch (random() % 5) {
      case 0:
      case 1: {
        const std::string bytes(random() % 3000, static_cast<char>('a' + random() % 26));
        buffer.append(bytes);
        expected += bytes;
        break;
      }
      case 2: {
        const size_t bytes = random() % 500;
        char* room = buffer.reserve(bytes);
        for (size_t i = 0; i < bytes; ++i) room[i] = static_cast<char>('A' + i % 26);
        const size_t used = bytes / 2;
        expected.append(room, used);
        buffer.commit(used);
        break;
      }
      case 3: {
        const size_t bytes = random() % (expected.size() + 1);
        buffer.consume(bytes);
        expected.erase(0, bytes);
        break;
      }
      default:
        if (random() % 20 == 0 && !expected.empty()) {
          const size_t kept = expected.size() - expected.size() / 8;
          buffer.truncate(kept);
          expected.resize(kept);
        }
    }
    if (buffer.view() != expected || buffer.is_empty() != expected.empty()) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("reserve gives the room it was asked for, on both sides of every bound") {
  for (size_t used : {size_t{0}, size_t{1}, limits::kBufferBytes - 1, limits::kBufferBytes}) {
    for (size_t wanted :
         {size_t{1}, limits::kBufferBytes, limits::kBufferBytes + 1, 5 * limits::kBufferBytes}) {
      CAPTURE(used);
      CAPTURE(wanted);
      ByteBuffer buffer;
      buffer.append(std::string(used, 'u'));
      std::memset(buffer.reserve(wanted), 'w', wanted);
      CHECK(buffer.tail_room() >= wanted);
      buffer.commit(wanted);
      CHECK(buffer.view() == std::string(used, 'u') + std::string(wanted, 'w'));
    }
  }
}

TEST_CASE("a buffer that is filled and emptied in turn does not grow") {
  ByteBuffer buffer;
  const std::string piece(1000, 'p');
  buffer.append("rest");
  for (int i = 0; i < 1000; ++i) {
    buffer.append(piece);
    buffer.consume(piece.size());
    REQUIRE(buffer.size() == 4);
  }
  CHECK(buffer.capacity() == limits::kBufferBytes);
}

TEST_CASE("moving a buffer leaves the source empty") {
  ByteBuffer source;
  source.append("bytes");
  const char* storage = source.data();
  ByteBuffer moved(std::move(source));
  CHECK(moved.view() == "bytes");
  CHECK(moved.data() == storage);
  CHECK(source.capacity() == 0);  // NOLINT(bugprone-use-after-move): that is the question
  ByteBuffer assigned;
  assigned.append("gone");
  assigned = std::move(moved);
  CHECK(assigned.view() == "bytes");
  CHECK(moved.view() != "gone");  // NOLINT(bugprone-use-after-move)
}

TEST_CASE("release gives the memory back, clear keeps it") {
  ByteBuffer buffer;
  buffer.append("bytes");
  buffer.clear();
  CHECK(buffer.is_empty());
  CHECK(buffer.capacity() == limits::kBufferBytes);
  buffer.append("more");
  CHECK(buffer.view() == "more");
  buffer.release();
  CHECK(buffer.capacity() == 0);
}

TEST_CASE("the pool hands out what it was given, emptied") {
  BufferPool pool;
  ByteBuffer buffer = pool.take();
  CHECK(buffer.capacity() >= limits::kBufferBytes);
  buffer.append("left over");
  const char* storage = buffer.data();
  pool.give(buffer);
  CHECK(buffer.capacity() == 0);
  ByteBuffer again = pool.take();
  CHECK(again.is_empty());
  CHECK(again.reserve(1) == storage);
  ByteBuffer none;
  pool.give(none);
  CHECK(pool.take().capacity() >= limits::kBufferBytes);
}

TEST_CASE("the pool keeps neither large buffers nor too many") {
  BufferPool pool;
  ByteBuffer large;
  large.reserve(limits::kBufferKeepBytes + 1);
  pool.give(large);
  CHECK(large.capacity() == 0);
  CHECK(pool.take().capacity() == limits::kBufferBytes);

  std::vector<ByteBuffer> buffers;
  for (size_t i = 0; i < limits::kBuffersKept + 1; ++i) {
    buffers.emplace_back();
    buffers.back().reserve(2 * limits::kBufferBytes);  // so that a kept one is told from a new one
  }
  for (ByteBuffer& buffer : buffers) pool.give(buffer);
  for (const ByteBuffer& buffer : buffers) REQUIRE(buffer.capacity() == 0);
  for (ByteBuffer& buffer : buffers) buffer = pool.take();
  CHECK(buffers[limits::kBuffersKept - 1].capacity() == 2 * limits::kBufferBytes);
  CHECK(buffers[limits::kBuffersKept].capacity() == limits::kBufferBytes);
}

TEST_CASE("an exact copy has room for its bytes alone, and grows like any other") {
  ByteBuffer copy = ByteBuffer::exact_copy("abc");
  CHECK(copy.view() == "abc");
  CHECK(copy.capacity() == 3);
  copy.append("d");
  CHECK(copy.view() == "abcd");
  CHECK(copy.capacity() == limits::kBufferBytes);
  CHECK(ByteBuffer::exact_copy("").capacity() == 0);
}
