// HRMR_CHECK: programmer errors. Prints the expression and both values, then aborts. Always on:
// each is one compare on a cold path.
#pragma once

#include <cstdio>
#include <cstdlib>

#define HRMR_CHECK(condition)                                                                  \
  do {                                                                                         \
    if (__builtin_expect(!(condition), 0)) {                                                   \
      std::fprintf(stderr, "hrmr: %s:%d: check failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)

// Both sides are integers; both values are printed.
#define HRMR_CHECK_EQ(left, right)                                                          \
  do {                                                                                      \
    const long long left_value = static_cast<long long>(left);                              \
    const long long right_value = static_cast<long long>(right);                            \
    if (__builtin_expect(left_value != right_value, 0)) {                                   \
      std::fprintf(stderr, "hrmr: %s:%d: check failed: %s (%lld) == %s (%lld)\n", __FILE__, \
                   __LINE__, #left, left_value, #right, right_value);                       \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)
