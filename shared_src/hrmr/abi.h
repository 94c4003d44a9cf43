/* SPDX-License-Identifier: MIT
 *
 * The HRMR module ABI: the only thing that a compiled module and the host share. Plain C11, also
 * valid C++ (module.hpp is the comfortable layer for that).
 *
 * A module is a shared library that exports ONE symbol, `hrmr_module_v1`, a constant of type
 * hrmr_module, and that needs none from the host: everything it calls comes through the hrmr_host
 * table that it is handed when it is loaded.
 *
 *     #include <hrmr/abi.h>
 *
 *     static const hrmr_host* host;
 *
 *     static int hello(const hrmr_request* request, hrmr_reply* reply, void* context) {
 *       (void)request;
 *       (void)context;
 *       return host->write(reply, HRMR_BYTES("hello\n"));
 *     }
 *
 *     static int load_hello(hrmr_load* load) {
 *       const hrmr_route route = {
 *           .size = sizeof route,
 *           .prefix = HRMR_BYTES("HELLO"),
 *           .function = hello,
 *       };
 *       host = load->host;
 *       return host->add_route(load, &route);
 *     }
 *
 *     HRMR_EXPORT const hrmr_module hrmr_module_v1 = {
 *         .size = sizeof(hrmr_module),
 *         .abi = HRMR_ABI,
 *         .name = "hello",
 *         .version = "1.0",
 *         .load = load_hello,
 *     };
 *
 * Build: `hrmr build` compiles module_src/hello.c into modules/hello.so. By hand:
 *
 *     cc -O2 -shared -fPIC -fvisibility=hidden -I$(hrmr sdk --include-dir) hello.c -o hello.so
 *
 * Versions: the host refuses a module whose major ABI version is not its own, or whose minor one
 * is higher. Each struct that may grow begins with its `size`; a field past the size that the
 * other side set does not exist. What came later than 1.0 says so.
 *
 * Threads, by tag on each function:
 *   [reload]  The host's reload thread; one call at a time for all modules. May take its time.
 *   [loop]    An event loop. Every connection of that loop waits, so: microseconds, and no call
 *             that blocks.
 *   [pool]    A worker thread; may block. Several at once, also for one module and for one
 *             function: the module locks what it shares.
 * With several loops, [loop] functions run at once too.
 *
 *   [any]     Any thread, the module's own included, from load until unload returns.
 *
 * A module must not: install signal or fork handlers; leave a thread running after unload
 * returns; keep a pointer that it got from the host past the call it got it in (except `host`
 * itself and `hrmr_context`, which live until unload returns, and deferred replies); let a C++
 * exception leave one of its functions (module.hpp sees to that).
 */
#ifndef HRMR_ABI_H
#define HRMR_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HRMR_ABI_MAJOR 1u
#define HRMR_ABI_MINOR 2u
#define HRMR_ABI ((HRMR_ABI_MAJOR << 16) | HRMR_ABI_MINOR)

#ifdef __cplusplus
#define HRMR_EXPORT extern "C" __attribute__((visibility("default")))
#else
#define HRMR_EXPORT __attribute__((visibility("default")))
#endif

/* Bytes that somebody else owns. Not terminated. `data` may be NULL when `size` is 0. */
typedef struct hrmr_bytes {
  const char* data;
  size_t size;
} hrmr_bytes;

/* A string literal as hrmr_bytes. */
#ifdef __cplusplus
#define HRMR_BYTES(literal) (hrmr_bytes{(literal), sizeof(literal) - 1})
#else
#define HRMR_BYTES(literal) ((hrmr_bytes){(literal), sizeof(literal) - 1})
#endif

/* What functions of this ABI return. A module's own functions return HRMR_OK, or anything else for
 * "it failed". */
enum {
  HRMR_OK = 0,
  /* The reason was told through set_error or fail, or there is none to tell. */
  HRMR_FAILED = 1,
  /* Out of range, or not allowed there (a line feed in a header). */
  HRMR_BAD_ARGUMENT = 2,
  /* A status or header after the first byte of the body. */
  HRMR_TOO_LATE = 3,
  /* The reply would pass the host's bound for one reply. */
  HRMR_TOO_LARGE = 4,
  /* A prefix that this module has registered already; the load will fail. One that another module
   * holds is found after load has returned: then unload is called, and the error names both. */
  HRMR_CONFLICT = 5,
  /* 1.2, flush: the peer has not yet read enough of what was sent. Nothing is lost. */
  HRMR_BUSY = 6,
  /* 1.2, flush: the connection is closed, or its client wants no answer: nothing reaches it. */
  HRMR_GONE = 7
};

/* How a request's end is found. A route says for which framing it is meant. */
enum {
  /* http if the prefix begins with an HTTP method or looks like `TOKEN /`, else line. */
  HRMR_FRAMING_AUTO = 0,
  HRMR_FRAMING_LINE = 1, /* up to '\n'; a '\r' before it is dropped */
  HRMR_FRAMING_HTTP = 2, /* one HTTP/1.1 or 1.0 message */
  HRMR_FRAMING_RAW = 3   /* whatever has arrived once the prefix matches */
};

/* Where a route's function runs. */
enum {
  HRMR_RUN_INLINE = 0, /* [loop] */
  HRMR_RUN_POOL = 1    /* [pool] */
};

/* Levels of `log`. */
enum { HRMR_DEBUG = 10, HRMR_INFO = 20, HRMR_WARNING = 30, HRMR_ERROR = 40 };

/* One HTTP header as it was sent; names compare without regard to case. */
typedef struct hrmr_header {
  hrmr_bytes name;
  hrmr_bytes value;
} hrmr_header;

/* One request. Everything it points to lives until the function it was handed to returns. */
typedef struct hrmr_request {
  size_t size;
  uint32_t framing;    /* HRMR_FRAMING_LINE, _HTTP or _RAW */
  uint32_t http_minor; /* HTTP/1.x: x. 0 elsewhere */
  /* The whole request, prefix included. A line comes without its line end; an HTTP request as its
   * head as sent, then the decoded body. */
  hrmr_bytes bytes;
  hrmr_bytes rest; /* what follows the prefix in `bytes` */
  hrmr_bytes peer; /* "127.0.0.1:40312" */
  /* HTTP only; empty elsewhere. */
  hrmr_bytes method;          /* "GET" */
  hrmr_bytes target;          /* "/users?id=1", as sent: still percent-encoded */
  hrmr_bytes path;            /* "/users": the target up to '?' */
  hrmr_bytes query;           /* "id=1": what follows the '?' */
  hrmr_bytes body;            /* decoded, without chunk framing */
  const hrmr_header* headers; /* in the order they came */
  size_t header_count;
} hrmr_request;

/* One answer under way; lives until the function returns. */
typedef struct hrmr_reply hrmr_reply;
/* One loaded generation of a module, as the host knows it. */
typedef struct hrmr_context hrmr_context;
typedef struct hrmr_load hrmr_load;
typedef struct hrmr_save hrmr_save;

/* A request handler, [loop] or [pool] as its route says. What it wrote is sent when it returns
 * HRMR_OK. Otherwise all it wrote is dropped and the client gets an error reply: HTTP 500 or a line
 * `ERR ...`, with the text given to `fail`.
 */
typedef int (*hrmr_handler)(const hrmr_request* request, hrmr_reply* reply, void* context);

/* A prefix and the function for the requests that begin with it. The host copies all but `function`
 * and `context`. */
typedef struct hrmr_route {
  size_t size;
  hrmr_bytes prefix; /* 1 to 1024 bytes; the longest registered prefix wins */
  uint32_t framing;  /* HRMR_FRAMING_... */
  uint32_t run;      /* HRMR_RUN_... */
  hrmr_handler function;
  void* context; /* handed to `function` as it is */
} hrmr_route;

/* 1.1. A function that is called again and again while the generation serves. The first call comes
 * one interval after the generation was published. Calls of one timer never overlap: one that is
 * due while the last one runs is left out, and so is one that finds the pool's queue full. Timers
 * rest while the generation hands its state over under `hold` or `reject`, and stop for ever when
 * it is replaced, before unload is called; in both cases once its last request is answered, so that
 * a timer may complete deferred replies. */
typedef struct hrmr_timer {
  size_t size;
  uint32_t interval_ms; /* 10 to 86400000; fires up to 10 ms late */
  uint32_t run;         /* HRMR_RUN_...: on the first event loop, or on the pool */
  void (*function)(void* context);
  void* context; /* handed to `function` as it is */
} hrmr_timer;

/* 1.2. One call of a command. Everything it points to lives until the function it was handed to
 * returns. */
typedef struct hrmr_call {
  size_t size;
  const hrmr_bytes* arguments; /* without the command's name; any bytes */
  size_t count;
  hrmr_bytes name; /* of the command, as the caller wrote it */
  hrmr_bytes peer; /* "127.0.0.1:40312" */
} hrmr_call;

/* 1.2. A command, [loop] or [pool] as it was registered. It answers with exactly one value, through
 * the value_... functions of the host. When it returns HRMR_OK and the value is complete, that is
 * sent, in the form that the client speaks: RESP2, RESP3 or JSON. Otherwise, or when the host has
 * refused one of its calls, the client gets an error, with the text given to `fail` if there was
 * one. */
typedef int (*hrmr_command_handler)(const hrmr_call* call, hrmr_reply* reply, void* context);

/* 1.2. For arguments_max: as many as the client sends. */
#define HRMR_ANY_NUMBER UINT32_MAX

/* 1.2. A command: a name with a function that takes arguments and answers with a value. It is
 * called as a RESP array, as a line ("KV.GET users 42", with Redis' quoting), unless the line is a
 * route's, and as POST /call/KV.GET with a JSON list of strings, numbers and booleans. A call with
 * another number of arguments is answered by the host, with an error. */
typedef struct hrmr_command {
  size_t size;
  /* 1 to 64 letters, digits, '.', '_', ':', '-'; compared without regard to case. Names that HRMR
   * answers itself (PING, HELLO, INFO, RELOAD, ...) are refused. Copied. */
  hrmr_bytes name;
  uint32_t run; /* HRMR_RUN_... */
  uint32_t arguments_min;
  uint32_t arguments_max; /* HRMR_ANY_NUMBER: no bound */
  hrmr_command_handler function;
  void* context; /* handed to `function` as it is */
} hrmr_command;

/* What the host offers. Lives until the module's unload returns. Functions are HRMR_OK or an error
 * of the enum. */
typedef struct hrmr_host {
  size_t size;
  uint32_t abi;        /* the host's HRMR_ABI */
  const char* version; /* the host's version, "0.1.0" */

  /* [reload], inside load only. */
  int (*add_route)(hrmr_load* load, const hrmr_route* route);
  /* The value of `key` in the module's table [modules.NAME] of hrmr.toml; data is NULL when it is
   * not set. Strings as they are, numbers and booleans as TOML writes them, other values as JSON;
   * nested keys are dotted: "db.path". Always NUL-terminated. Lives until load returns. */
  hrmr_bytes (*config)(hrmr_load* load, const char* key);
  /* Why load failed; shown to who asked for the reload. Copied. Returns HRMR_FAILED, to be returned
   * on. */
  int (*set_error)(hrmr_load* load, hrmr_bytes message);

  /* Any thread, from load until unload returns. Appears as "module.NAME" in the log. */
  void (*log)(hrmr_context* context, int level, hrmr_bytes message);

  /* Inside a handler, on its thread. The body: any number of writes, copied at once. In line and
   * raw framing these are exactly the bytes sent: the handler ends its lines with '\n' itself, and
   * one that writes nothing sends nothing. In HTTP they are the body; the host writes status line,
   * Content-Length, Date, Connection. */
  int (*write)(hrmr_reply* reply, hrmr_bytes bytes);
  /* Room for `size` bytes of body, to be filled in place and then committed; NULL when the reply
   * would be too large. Lives until the next call on this reply. */
  char* (*reserve)(hrmr_reply* reply, size_t size);
  int (*commit)(hrmr_reply* reply, size_t size); /* at most what was reserved */
  /* HTTP, before the body; ignored elsewhere. Status 200 to 599; 200 unless set. */
  int (*status)(hrmr_reply* reply, int status);
  /* HTTP, before the body; ignored elsewhere. Content-Length, Transfer-Encoding, Connection and
   * Date are the host's and refused. Without a Content-Type the host sends "text/plain;
   * charset=utf-8". */
  int (*header)(hrmr_reply* reply, hrmr_bytes name, hrmr_bytes value);
  /* The connection is closed once this reply is sent. */
  int (*close)(hrmr_reply* reply);
  /* Drops what was written and answers with an error: HTTP `status` (400 to 599) with the message
   * as its body, or a line `ERR message`. Returns HRMR_OK, so that `return host->fail(...)` sends
   * just that. */
  int (*fail)(hrmr_reply* reply, int status, hrmr_bytes message);

  /* Interfaces of later versions, asked for by name; NULL when this host has none of that name. Any
   * thread. */
  const void* (*extension)(const char* name);

  /* 1.1. [reload], inside load only. */
  int (*add_timer)(hrmr_load* load, const hrmr_timer* timer);

  /* 1.1. [reload], inside save_state only. Appends to the saved bytes; copied. */
  int (*save)(hrmr_save* save, hrmr_bytes bytes);
  /* Why save_state failed; shown to who asked for the reload. Copied. Returns HRMR_FAILED, to be
   * returned on. */
  int (*save_error)(hrmr_save* save, hrmr_bytes message);

  /* 1.1. Deferred replies. `defer`, inside a handler and on its thread, takes the reply out of it:
   * what was written so far is dropped, `reply` is done with, and what the handler returns no
   * longer matters. The returned reply outlives the handler; write, reserve, commit, status,
   * header, close and fail work on it from any thread, one at a time. NULL: it was deferred
   * already.
   *
   * Either `complete` or `drop` must follow, once, from any thread, inside unload at the latest;
   * the pointer ends with it. `complete` sends the reply, or an error reply if the host refused a
   * call on it and `fail` did not say a better one; that its client has gone does no harm. `drop`
   * answers with an error that names the module. Until then the connection handles no further
   * request, and the generation stays loaded: a reload waits for it, and names the module when it
   * waits in vain. (A server that shuts down waits up to its drain timeout, then calls unload all
   * the same.) The request's views end when the handler returns all the same: copy what is needed.
   */
  hrmr_reply* (*defer)(hrmr_reply* reply);
  void (*complete)(hrmr_reply* deferred);
  void (*drop)(hrmr_reply* deferred);

  /* 1.2. The next `length` bytes of the body are those of the regular file `fd` from `offset` on.
   * Any number of writes and files may follow each other, up to 256 files in one reply. The bytes
   * are not read now: the loop sends them, by sendfile(2), when it is their turn and as fast as the
   * peer takes them; they take no memory and do not count towards the bound for one reply.
   *
   * The host duplicates `fd`; the module may close its own at once. The file may be replaced or
   * unlinked meanwhile, and the module unloaded. It should not be written to: what is sent is what
   * is in it by then. One that has become shorter when its turn comes breaks the connection, so
   * that the peer sees that bytes are missing.
   *
   * HRMR_BAD_ARGUMENT: not a regular file, or it ends before the range does. HRMR_FAILED: there is
   * no descriptor left for it. Nothing is sent of it where no body is (HEAD, 204, 304). */
  int (*send_file)(hrmr_reply* reply, int fd, uint64_t offset, uint64_t length);

  /* 1.2. Inside an inline handler, on its thread: what is left to do may block after all. The same
   * handler is called again for the same request on the pool, in the request's place; what was
   * written so far is dropped, `reply` is done with, and what the handler returns no longer
   * matters. HRMR_TOO_LATE, and nothing happens, where the handler is not inline (in that second
   * call, too) or the reply was deferred. So a handler that answers from memory what it can:
   *
   *     if (!answer_from_memory(request, reply)) {
   *       if (host->to_pool(reply) == HRMR_OK) return HRMR_OK;
   *       answer_from_disk(request, reply);
   *     }
   */
  int (*to_pool)(hrmr_reply* reply);

  /* 1.2. Streamed replies. `stream`, after status and headers and before the body, lets the reply
   * be sent in pieces while its handler still writes it: [pool] on the handler's own reply or a
   * deferred one, [any] on a deferred one; an inline handler has to defer first. `length` is that
   * of the whole body, which is then sent with a Content-Length and held to it exactly; or -1: then
   * HTTP/1.1 sends chunks and HTTP/1.0 ends with the connection. Lines are sent as they are.
   *
   * `flush` sends what was written since the last one, as one chunk. While the peer has more than
   * 1 MiB unread it waits, at most `wait_ms`, and then is HRMR_BUSY: nothing was sent, what was
   * written stays, flush again later. 0 does not wait, nor does a flush on an event loop's thread.
   * HRMR_GONE: the client has gone, or has said that it wants no answer (CLIENT REPLY); stop, and
   * return or complete as usual.
   *
   * The end of the handler, or `complete`, ends the reply and sends what is left. What fails after
   * the first flush (fail, drop, a handler that returns an error, a body shorter than `length`)
   * breaks the connection off, in HTTP/1.0 by a reset, so that the peer sees that the reply is not
   * whole. The generation stays loaded until the end, and a reload waits for it. */
  int (*stream)(hrmr_reply* reply, int64_t length);
  int (*flush)(hrmr_reply* reply, uint32_t wait_ms);
  /* 1.2. [reload], inside load only. */
  int (*add_command)(hrmr_load* load, const hrmr_command* command);

  /* 1.2. Inside a command, on its thread, or on its deferred reply: the value that it answers with.
   * Exactly one in all; a list, map or set is one value, of which as many elements follow as its
   * count says, each of them a value again. A map's elements are key, value, key, value; a key is
   * text, a number or a boolean. Lists, maps and sets nest up to 32 deep. A call that would make
   * the value wrong is refused (HRMR_TOO_LATE behind the last element, HRMR_BAD_ARGUMENT,
   * HRMR_TOO_LARGE) and makes the reply an error. `write`, `reserve`, `commit`, `status`,
   * `header`, `send_file`, `to_pool` and `stream` are refused in a command; `close` and `fail` work
   * as in a route (`fail` is the error ERR with that text, and over HTTP that status). */
  int (*value_nil)(hrmr_reply* reply);
  int (*value_boolean)(hrmr_reply* reply, int value); /* 0: false */
  int (*value_integer)(hrmr_reply* reply, int64_t value);
  int (*value_double)(hrmr_reply* reply, double value);
  /* Text or any other bytes, copied at once. In JSON a string, if it is UTF-8, and otherwise
   * {"base64":"..."}. */
  int (*value_bytes)(hrmr_reply* reply, hrmr_bytes bytes);
  /* One line without a line end, such as "OK": a simple string of RESP. */
  int (*value_simple)(hrmr_reply* reply, hrmr_bytes text);
  /* Text for people; `format` is three letters that say how to show it, "txt" or "mkd". */
  int (*value_verbatim)(hrmr_reply* reply, hrmr_bytes format, hrmr_bytes text);
  /* An error: `code` is one word of capitals, digits and '_' that programs tell errors apart by,
   * such as NOTFOUND (empty: ERR). As the whole value it is HTTP 500. */
  int (*value_error)(hrmr_reply* reply, hrmr_bytes code, hrmr_bytes message);
  int (*value_list)(hrmr_reply* reply, size_t count);
  int (*value_map)(hrmr_reply* reply, size_t pairs);
  int (*value_set)(hrmr_reply* reply, size_t count);

  /* 1.2. [reload], inside load only. Which keys the module's table may have, written as `config`
   * takes them. HRMR_OK; or the table has another one, most likely a misspelt one: then the load is
   * refused with a text that names it and them, and load should return that result on. */
  int (*config_keys)(hrmr_load* load, const char* const* known, size_t count);
} hrmr_host;

/* What a module's load is handed. */
struct hrmr_load {
  size_t size;
  const hrmr_host* host;
  hrmr_context* context; /* for host->log */
  void* state;           /* out: handed to unload and save_state as it is */

  /* 1.1. What the generation that this one replaces has saved: `data` is NULL when there is none (a
   * first load, a module that was away, or one without save_state), and never NULL otherwise. Lives
   * until load returns. A load that cannot use it returns an error: the old generation then serves
   * on, its state untouched. */
  hrmr_bytes previous_state;
  uint64_t previous_schema; /* what the old generation said of the bytes' layout */
  uint64_t generation;      /* of this load: 1, 2, ... */
};

/* 1.1. What a module's save_state is handed. */
struct hrmr_save {
  size_t size;
  const hrmr_host* host;
  uint64_t schema; /* out: the module's own number for the layout of the bytes; 0 unless set */
};

/* What a module exports, under the name hrmr_module_v1. */
typedef struct hrmr_module {
  size_t size;
  uint32_t abi;        /* HRMR_ABI of the header it was compiled with */
  const char* name;    /* must be the file's name without its suffix: "hello" for hello.so */
  const char* version; /* the module's own, for people */
  /* [reload] Registers routes, opens what the module needs. Anything but HRMR_OK refuses the load:
   * nothing of it is published, unload is not called, the old generation serves on. Under the
   * policy `swap` the old generation still serves while the new one loads. */
  int (*load)(hrmr_load* load);
  /* [reload] Called once after the last request of this generation is answered; may be NULL. Must
   * join every thread that the module started. */
  void (*unload)(void* state);

  /* 1.1. [reload] May be NULL. Hands what the module knows to the generation that replaces it, with
   * host->save. The generation may have to serve on after it, so it must leave `state` as it is.
   *
   * A module that has it is reloaded under the policy `hold`, unless told otherwise: while it
   * saves, no handler, timer or deferred reply of it is under way, and none begins before the new
   * generation answers; so nothing is lost in between. (Under `reject` the same holds. Under `swap`
   * handlers run on meanwhile, and what they change after save_state is lost.) */
  int (*save_state)(void* state, hrmr_save* save);
} hrmr_module;

#ifdef __cplusplus
}
#endif

#endif /* HRMR_ABI_H */
