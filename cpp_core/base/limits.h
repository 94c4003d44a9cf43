// Every bound of the system, in one place, with its unit and its reason.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hrmr::limits {

// --- connections ---
// Accepted in one turn of a loop before other sockets get their turn again.
inline constexpr int kAcceptsPerTurn = 64;
// Requests of one connection handled in one turn, so that a pipelining client cannot starve the
// others.
inline constexpr int kRequestsPerTurn = 128;
// Open connections per server; each costs a descriptor and some 500 bytes while it is idle.
// Default of --max-connections.
inline constexpr size_t kConnectionsMax = 65536;
// Requests of one connection that were handled and whose answers the peer has not begun to take.
// Default of --max-pipeline.
inline constexpr size_t kPipelinedRequestsMax = 1024;
// Defaults of --idle-timeout, --header-timeout, --body-timeout and --write-timeout; see
// server/patience.h.
inline constexpr uint64_t kIdleTimeoutMs = 300'000;
inline constexpr uint64_t kHeadTimeoutMs = 60'000;
inline constexpr uint64_t kBodyTimeoutMs = 60'000;
inline constexpr uint64_t kWriteTimeoutMs = 60'000;
// Default of --min-rate: what a peer that sends a body or takes an answer has to come to on
// average. A modem of 1990 does more.
inline constexpr size_t kBytesPerSecondMin = 500;
// How long a listener sleeps after accept() ran out of descriptors.
inline constexpr uint32_t kAcceptPauseMs = 100;
// Handshakes done and waiting for accept(); the kernel lowers it to net.core.somaxconn.
inline constexpr int kListenBacklog = 4096;
// A lone RELOAD, CLOSE or SHUTDOWN without a newline counts as complete after this much silence.
inline constexpr uint32_t kBareCommandQuietMs = 100;
// After a protocol error: how long we read and discard so that the peer sees the answer and not a
// reset.
inline constexpr uint32_t kLingerMs = 1000;

// A token for the built-in commands: one that is shorter can be guessed.
inline constexpr size_t kAdminTokenBytesMin = 16;
inline constexpr size_t kAdminTokenBytesMax = 512;
// Wrong tokens on one connection; it is closed behind the last.
inline constexpr unsigned kWrongTokensMax = 3;
// One loop says at most once in this time that tokens were wrong.
inline constexpr uint64_t kWrongTokenWarnMs = 10'000;

// --- buffers ---
// First size of a connection's input or output buffer; one read takes at most what is free in it.
inline constexpr size_t kBufferBytes = 16 * 1024;
// A buffer that grew past this is freed, not kept for the next connection.
inline constexpr size_t kBufferKeepBytes = 64 * 1024;
// Buffers that one loop keeps for the next connections.
inline constexpr size_t kBuffersKept = 256;
// A request that comes in drops is kept in memory of its own size between them, up to this one; a
// thousand slow clients then cost no more than what they have sent.
inline constexpr size_t kStashedBytesMax = 4 * 1024;
// Output that the peer has not read yet; past it no further request of that connection is handled.
// Default of --output-max.
inline constexpr size_t kOutputHighBytes = 1024 * 1024;
// The same for ranges of files, each of which holds a descriptor.
inline constexpr size_t kOutputFilesHigh = 16;
// Sent of a file by one system call, and looked for in the page cache before that.
inline constexpr size_t kFileSliceBytes = 256 * 1024;
// One byte in so many is looked for; the kernel reads ahead, and forgets, in runs of that order.
inline constexpr size_t kFileProbeBytes = 128 * 1024;
// Read into the page cache by one job, while its connection waits; the kernel is asked to begin
// with as much again.
inline constexpr size_t kFileReadBytes = 1024 * 1024;
// Sent of files for one connection in one turn, so that the others get theirs.
inline constexpr size_t kFileBytesPerTurn = 1024 * 1024;

// --- requests ---
// One line request, newline included. Default of --line-max.
inline constexpr size_t kLineBytesMax = 64 * 1024;
// Request line and header section. Default of --header-max.
inline constexpr size_t kHttpHeadBytesMax = 64 * 1024;
// The longest registered method has 17.
inline constexpr size_t kHttpMethodBytesMax = 32;
// RFC 9112 section 3 asks for 8000 at least. Default of --target-max.
inline constexpr size_t kHttpTargetBytesMax = 8 * 1024;
// Header lines of one request; default of --max-headers, and the most that it may be: each loop
// has a table of so many.
inline constexpr size_t kHttpHeadersMax = 100;
inline constexpr size_t kHttpHeaderSlots = 1000;
// One chunk-size line with its extensions.
inline constexpr size_t kHttpChunkLineBytesMax = 1024;
// Chunk framing (sizes, extensions, line ends) may take this plus --body-max, so that one-byte
// chunks cannot fill the memory with what is no body.
inline constexpr size_t kHttpChunkingBytesMax = 64 * 1024;
// Trailer section, read and dropped.
inline constexpr size_t kHttpTrailerBytesMax = 8 * 1024;
// Decoded body; default of --body-max.
inline constexpr size_t kBodyBytesMax = 16 * 1024 * 1024;
// One RESP request: its elements, the bytes of one of them, and all of it. An element's count or
// length is a number of a few digits; Redis reads lines of 64 KiB in its search for one.
inline constexpr size_t kRespElementsMax = 1024 * 1024;
inline constexpr size_t kRespBulkBytesMax = 64 * 1024 * 1024;
inline constexpr size_t kRespCommandBytesMax = 128 * 1024 * 1024;
inline constexpr size_t kRespNumberBytesMax = 64 * 1024;
// What a Redis client calls itself, its library or the library's version; each is kept.
inline constexpr size_t kClientNameBytesMax = 1024;
// One registered command's name.
inline constexpr size_t kCommandNameBytesMax = 64;
// Room for the arguments of a call that is kept for the next one; it grows as far as it must.
inline constexpr size_t kArgumentsKept = 1024;
// Lists, maps and sets inside each other in one reply; clients give up at some such depth too.
inline constexpr size_t kReplyDepthMax = 32;
// One reply, which is held in memory whole. Default of --reply-max.
inline constexpr size_t kReplyBytesMax = 256 * 1024 * 1024;
// The text of an error; what is longer is cut.
inline constexpr size_t kErrorTextBytesMax = 32 * 1024;
// Ranges of files in one reply (multipart/byteranges); each holds a descriptor until it is sent.
inline constexpr size_t kReplyFilesMax = 256;

// --- routes, pool ---
// Names in one RELOAD.
inline constexpr size_t kReloadNamesMax = 64;
// One registered prefix.
inline constexpr size_t kPrefixBytesMax = 1024;
// Pipelined pool requests of one connection that travel together.
inline constexpr size_t kBatchRequests = 32;
// Batches waiting for a worker; default of --queue, a power of two.
inline constexpr size_t kQueueSlots = 4096;
// Batches that a Python thread runs for one hold of the GIL.
inline constexpr size_t kGilBatches = 64;
inline constexpr unsigned kLoopsMax = 64;
inline constexpr unsigned kThreadsMax = 1024;

// Looks at an empty queue before a worker sleeps: about a microsecond, what a sleep would cost.
inline constexpr int kSpinsBeforeSleep = 64;

// --- loops ---
inline constexpr int kEventsPerTurn = 256;    // taken by one epoll_wait; the rest come next turn
inline constexpr uint64_t kTimerTickMs = 10;  // timers fire up to this late, never early
// How long CLIENT LIST waits for the other loops. A turn takes milliseconds, unless a handler
// blocks.
inline constexpr uint64_t kClientListWaitMs = 1000;

// --- modules ---
inline constexpr size_t kModuleNameBytesMax = 64;  // a file's name without its suffix
// A file whose times are younger is compared byte by byte: some file systems count in 2 s steps.
inline constexpr int64_t kFileSettleMs = 2000;
// A Python package: its files and folders, each looked at by every reload; how deep they are
// nested, which also ends links that lead in a circle; the bytes of its files, held in memory.
inline constexpr size_t kPackageFilesMax = 4096;
inline constexpr size_t kPackageDepthMax = 16;
inline constexpr int64_t kPackageBytesMax = 64 * 1024 * 1024;
// Readings of a Python module that changes while it is read, before it is refused.
inline constexpr int kSourceReadsMax = 5;
// Replaced generations of one module that still wait for a request; each costs its code's memory.
inline constexpr size_t kDrainingGenerationsMax = 64;
// Unloaded images that stayed mapped, of all modules; each costs its code's memory for ever. A
// module that has one among them is not reloaded any more once they are so many.
inline constexpr size_t kKeptImagesMax = 64;
// What one generation may hand to the next.
inline constexpr size_t kSavedBytesMax = 256 * 1024 * 1024;
// A file that fails to load is tried again once nobody has written to it for so long: it may have
// been read half-written.
inline constexpr uint64_t kFileQuietMs = 100;
// How long such a file is waited for in all.
inline constexpr uint64_t kFileQuietWaitMs = 1000;
// Periodic timers of modules; the shortest is the tick of the loop's own timers.
inline constexpr uint64_t kTimerIntervalMsMin = 10;
inline constexpr uint64_t kTimerIntervalMsMax = 24 * 3600 * 1000;
// A module's load, save_state or unload that takes so long is named in the log: most take
// milliseconds, one that fills a cache or opens a far database some seconds. Then again each
// minute: whoever looks at the log finds it, and a night of it is no flood.
inline constexpr uint64_t kLongCallMs = 5000;
inline constexpr uint64_t kLongCallAgainMs = 60'000;
// Defaults of --hold-timeout and --retire-timeout.
inline constexpr uint64_t kHoldTimeoutMs = 5000;
inline constexpr uint64_t kRetireTimeoutMs = 1000;

// --- crash reports ---
// Room for the signal handlers of a thread: a signal's own frame (some 12 KiB with AMX), the
// unwinder, and the paths and names of a report.
inline constexpr size_t kAlternateStackBytes = 64 * 1024;
// The innermost ones; deeper ones are mostly the same few of a recursion.
inline constexpr size_t kBacktraceFramesMax = 64;
inline constexpr size_t kSymbolBytesMax = 512;
inline constexpr size_t kExceptionBytesMax = 512;  // type and text of the one that nobody caught
// A report takes milliseconds; one that hangs ends with the process.
inline constexpr unsigned kCrashReportS = 10;

// --- watching files ---
// After a save: editors and `cp -r` do a few more steps within it, and nobody notices it.
inline constexpr uint64_t kSavedQuietMs = 25;
// How long a file may be absent before its module goes: editors and linkers remove it and write it
// anew. Also how long a change must rest whose end nobody tells: one that a listing found.
inline constexpr uint64_t kAbsentQuietMs = 300;
// A file that was written to and not closed counts as complete after this much silence: there are
// writers that never close. A slow linker is silent for less.
inline constexpr uint64_t kWriterSilenceMs = 2000;
// How often the watch looks while something has not settled; with --watch-poll, at most that often.
inline constexpr uint64_t kUnsettledLookMs = 25;
// The same when each look lists the folders.
inline constexpr uint64_t kUnsettledPollMs = 100;
// Between two looks once inotify has failed us; a look costs one stat(2) per file.
inline constexpr uint64_t kFallbackPollMs = 1000;
// Folders that are watched; each takes about a kilobyte of kernel memory.
inline constexpr size_t kWatchedFoldersMax = 4096;
// Links from a module file to what it is in the end; the kernel follows 40.
inline constexpr int kLinksMax = 40;
// Reads of 16 KiB from inotify in one look, so that a look ends.
inline constexpr int kNoticeReadsMax = 64;

// --- log ---
// One loop says at most once in this time that its queue is full, that it refuses connections, or
// that another one is stuck.
inline constexpr uint64_t kOverloadWarnMs = 10'000;
inline constexpr size_t kLogRecordsMax =
    4096;  // waiting for the log thread; past it records are counted and dropped

}  // namespace hrmr::limits
