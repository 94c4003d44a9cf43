// The cache of the http module (module_src/http/file_cache.h): bounds, replacement, and many
// threads.
#include <doctest/doctest.h>
#include <fcntl.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "http/file_cache.h"

namespace {

using http::CacheKey;
using http::FileCache;
using http::Representation;

std::unique_ptr<Representation> content_of(std::string text) {
  auto content = std::make_unique<Representation>();
  content->bytes = std::move(text);
  content->is_in_memory = true;
  content->size = content->bytes.size();
  return content;
}

std::unique_ptr<Representation> open_file() {
  auto content = std::make_unique<Representation>();
  content->file = http::File(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  REQUIRE(content->file.is_open());
  return content;
}

constexpr http::CacheBounds kRoomy{size_t{1} << 30, 1000, 1000};

}  // namespace

TEST_CASE("finds what was inserted, by all of the key") {
  FileCache cache(kRoomy);
  cache.insert({"a", false, 1}, content_of("one"));
  cache.insert({"a", true, 1}, content_of("two"));
  cache.insert({"a", false, 2}, content_of("three"));
  cache.insert({"", true, 1}, content_of("four"));
  CHECK(cache.find({"a", false, 1})->bytes == "one");
  CHECK(cache.find({"a", true, 1})->bytes == "two");
  CHECK(cache.find({"a", false, 2})->bytes == "three");
  CHECK(cache.find({"", true, 1})->bytes == "four");
  CHECK_FALSE(cache.find({"b", false, 1}));
  CHECK_FALSE(cache.find({"a", true, 2}));
  CHECK_FALSE(cache.find({"", false, 1}));
  CHECK(cache.entries() == 4);
}

TEST_CASE("what is inserted again takes the old one's place, unless that is being read") {
  FileCache cache(kRoomy);
  const CacheKey key{"a"};
  cache.insert(key, content_of("old"));
  cache.insert(key, content_of("new"));
  CHECK(cache.entries() == 1);
  {
    const FileCache::Pin pin = cache.find(key);
    REQUIRE(pin);
    cache.insert(key, content_of("newest"));
    CHECK(pin->bytes == "new");
    CHECK(cache.entries() == 1);
  }
  CHECK(cache.find(key)->bytes == "new");
  cache.insert(key, content_of("newest"));
  CHECK(cache.find(key)->bytes == "newest");
}

TEST_CASE("keeps to its bounds") {
  const size_t one = content_of(std::string(1000, 'x'))->memory_bytes();
  FileCache cache({10 * one, 1000, 3});
  for (int i = 0; i < 100; ++i) {
    cache.insert({std::to_string(i)}, content_of(std::string(1000, 'x')));
    CHECK(cache.bytes() <= 10 * one);
    CHECK(cache.find({std::to_string(i)}));
  }
  CHECK(cache.entries() == 10);
  CHECK(cache.bytes() == 10 * one);
  cache.insert({"huge"}, content_of(std::string(11 * one, 'x')));
  CHECK_FALSE(cache.find({"huge"}));
  CHECK(cache.entries() == 10);
  for (int i = 0; i < 20; ++i) {
    cache.insert({"file" + std::to_string(i)}, open_file());
    CHECK(cache.files() <= 3);
  }
  CHECK(cache.files() == 3);
  FileCache few({size_t{1} << 20, 3, 3});
  for (int i = 0; i < 20; ++i) few.insert({std::to_string(i)}, content_of("x"));
  CHECK(few.entries() <= 3);
  CHECK(few.entries() > 0);
}

TEST_CASE("without entries it keeps nothing") {
  FileCache cache({size_t{1} << 20, 0, 3});
  cache.insert({"a"}, content_of("x"));
  CHECK_FALSE(cache.find({"a"}));
  cache.sweep();
  CHECK(cache.bytes() == 0);
  FileCache no_bytes({0, 10, 3});
  no_bytes.insert({"a"}, content_of("x"));
  CHECK_FALSE(no_bytes.find({"a"}));
}

TEST_CASE("a sweep drops what nobody asked for since the last one, and never what is read") {
  FileCache cache(kRoomy);
  cache.insert({"a"}, open_file());
  cache.insert({"b"}, content_of("b"));
  const FileCache::Pin pin = cache.find({"b"});
  cache.sweep();  // both were just inserted
  CHECK(cache.find({"a"}));
  cache.sweep();
  CHECK(cache.entries() == 2);
  cache.sweep();
  CHECK(cache.entries() == 1);
  CHECK(cache.files() == 0);
  CHECK(pin->bytes == "b");
}

TEST_CASE("readers on several threads never see half of an entry") {
  FileCache cache({size_t{64} << 10, 16, 4});
  std::atomic<bool> is_over{false};
  std::atomic<long> found{0};
  std::atomic<long> wrong{0};
  std::vector<std::thread> threads;
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      while (!is_over) {
        for (int i = 0; i < 24; ++i) {
          const std::string name = std::to_string(i);
          const FileCache::Pin pin = cache.find({name});
          if (!pin) continue;
          ++found;
          if (pin->path != name || pin->bytes.find_first_not_of(pin->bytes[0]) != std::string::npos)
            ++wrong;
        }
      }
    });
  }
  for (int round = 0; round < 300 || found < 1000; ++round) {
    for (int i = 0; i < 24; ++i) {
      auto content = content_of(std::string(2000, static_cast<char>('a' + round % 26)));
      content->path = std::to_string(i);
      cache.insert({std::to_string(i)}, std::move(content));
    }
    cache.sweep();
  }
  is_over = true;
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(found >= 1000);
  CHECK(cache.bytes() <= size_t{64} << 10);
}
