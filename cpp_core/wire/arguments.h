// The arguments of a command's call, from the three ways to write them: a RESP array, a line with
// Redis' quoting, a JSON list.
//
// Where something has to be decoded it is decoded in place: the text is never longer than what it
// was written as. So each may be read once. Views into the bytes they were read from.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "wire/request.h"

namespace hrmr::wire {

// Of a frame that RespFramer has found: all elements, the name included.
void read_resp_arguments(std::string_view frame, std::vector<Text>& out);

// Redis' sdssplitargs: words are separated by white space; in "double quotes" there are \n \r \t
// \b \a, \xHH and \ before any other byte; in 'single quotes' only \'. A closing quote ends the
// word. A NUL ends the line.
bool is_balanced(std::string_view line);
// What is said of a line that is not.
inline constexpr std::string_view kUnbalancedReply =
    "-ERR Protocol error: unbalanced quotes in request\r\n";
// The first word as it is written, quotes and all.
std::string_view first_word(std::string_view line);
// The same as it is meant, written to `buffer`; of one that is longer, as much as fits.
std::string_view first_word(std::string_view line, std::span<char> buffer);
// All words of a balanced line, the first included.
void read_line_arguments(std::string_view line, std::vector<Text>& out);

// A JSON list (RFC 8259) of strings, numbers, true and false; numbers keep their spelling. Nothing
// but white space is an empty list. Returns what is wrong with it, in static storage; empty:
// nothing is. Wrong is also what would make `out` longer than `elements_max`.
std::string_view read_json_arguments(std::string_view body, size_t elements_max,
                                     std::vector<Text>& out);

// All arguments of a command's call, the name in front. As read_json_arguments; the other two are
// bounded by their framers.
std::string_view read_arguments(const Request& call, size_t elements_max, std::vector<Text>& out);

// Gives the memory of very many arguments back; that of an ordinary call is kept for the next one.
inline void keep_few(std::vector<Text>& arguments) {
  if (arguments.capacity() > limits::kArgumentsKept) std::vector<Text>().swap(arguments);
}

}  // namespace hrmr::wire
