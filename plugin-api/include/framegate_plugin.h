/* Write a source plugin for framegate in C or C++: the binary interface, version 0.1.
 *
 * A source plugin is a shared library that takes the data of one detector and gives it to framegate, the host, as events. It
 * exports one table of functions and one ELF note; FRAMEGATE_PLUGIN at the end of this file writes both.
 * plugins/template-c is a whole plugin to copy; docs/write-a-source/ is the guide for authors.
 *
 *     cc -shared -fPIC -O2 -I plugin-api/include my_source.c -o libframegate_mine.so
 *
 * Needs C11 or C++11, GCC or Clang, 64-bit Linux, and no library.
 *
 * THE LIFE OF A SOURCE
 *
 *     create ──> (closed) ──open──> (open) ──next, next, …──> close ──> (closed) ── … ──> destroy
 *
 *   create   once for each stream of the configuration that uses the plugin. Checks the settings and acquires what must
 *            last between scans (a listening port). Does not contact the detector.
 *   open     once for each scan. When it returns, nothing that the detector sends from then on may be lost. A detector that
 *            is merely absent is not an error: keep connecting in next.
 *   next     repeatedly while the scan lasts: gives events.
 *   close    when the scan is over, whether next has answered END or not.
 *   destroy  at the end. Threads that the source has started have ended when this returns.
 *
 * THREADS. Each function says who calls it. [source thread]: the one thread of the host that called create; it makes all these
 *   calls, one after the other, so data that only they use needs no lock. [any thread]: any thread, also several at once.
 *
 * OWNERSHIP. A pointer that a function gets is valid during the call, unless it says otherwise: copy what you keep. A frame
 *   is yours until it is counted in a batch; from then on it belongs to the host, which calls its `release` once, on any
 *   thread, when the last receiver has the bytes. That may be after close and destroy: what release needs must outlive them.
 *
 * TIME. next returns within the time in left_ns, 100 ms at most, and soon after a stop is requested. create and open may take
 *   `source_timeout` of the host's configuration (10 s). A call that hangs stops its own stream; other streams continue.
 *
 * ERRORS. A function returns DONE, or FAILED after it has put kind and message into `error`; framegate_failf does both. After
 *   an error of create the host does not use the plugin. An error of open or next ends the stream's part in the scan: events
 *   that were counted are still sent, the run is closed, the next scan opens again. A malformed message is not an error:
 *   skip and count it. A source that breaks a rule of this file is not called again. C++ exceptions must not leave a
 *   function. Do not exit; do not touch signals and their handlers.
 *
 * LOADING. The host loads a private copy of the file for each stream, so streams share no statics, and never unloads it.
 *   C++: build with -fvisibility=hidden -fno-gnu-unique, or statics of templates and inline functions are shared.
 *
 * VERSIONS. Until version 1.0 a plugin must be built with the header of its host's version: the host refuses any other.
 *   From 1.0 on nothing in this file changes within a major version, and additions come as extensions: a table that one
 *   side offers and the other asks for by its id. */
#ifndef FRAMEGATE_PLUGIN_H
#define FRAMEGATE_PLUGIN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FRAMEGATE_ABI_MAJOR 0
#define FRAMEGATE_ABI_MINOR 1

/* The outcome of a call: all functions of the plugin return one, except get_extension. */
enum {
    FRAMEGATE_OUTCOME_DONE = 0,     /* success */
    FRAMEGATE_OUTCOME_FAILED = 1,   /* an error; `error` contains it */
    FRAMEGATE_OUTCOME_PANICKED = 2, /* the plugin is in an unknown state: the source is not called again */
    FRAMEGATE_OUTCOME_POISONED = 3  /* not called, because of an earlier PANICKED */
};

/* What next answers. */
enum {
    FRAMEGATE_PROGRESS_MORE = 1, /* there may be more immediately: call again; if in doubt, this */
    FRAMEGATE_PROGRESS_IDLE = 2, /* nothing is waiting: these events are all that have come, or the time is over, or a stop
                                    is requested. The host forwards such events at once, on this thread, and calls again */
    FRAMEGATE_PROGRESS_END = 3   /* the run's last event was given; later calls only read and count further messages */
};

/* The position of an event in its run. Without a controller the host sends a start and an end to every worker. */
enum {
    FRAMEGATE_EVENT_KIND_START = 1, /* the detector's header */
    FRAMEGATE_EVENT_KIND_DATA = 2,  /* ordinary data; if in doubt, this */
    FRAMEGATE_EVENT_KIND_END = 3    /* the detector's end message */
};

/* Whether a detector is connected to a run. */
enum {
    FRAMEGATE_CONNECTED_UNKNOWN = 0, /* the source cannot tell: it gets datagrams, or requests that come one by one */
    FRAMEGATE_CONNECTED_NO = 1,      /* no detector is connected; the source waits for one, or keeps connecting */
    FRAMEGATE_CONNECTED_YES = 2      /* a detector is connected */
};

/* The cause of an error. */
enum {
    FRAMEGATE_ERROR_KIND_SETTINGS = 1, /* the configuration of the stream: name the setting */
    FRAMEGATE_ERROR_KIND_CONNECT = 2,  /* the network or the machine: a connection broke for good */
    FRAMEGATE_ERROR_KIND_PROTOCOL = 3, /* the detector: after what it sent the run cannot continue */
    FRAMEGATE_ERROR_KIND_INTERNAL = 4  /* the plugin */
};

/* The severity of a log line. */
enum {
    FRAMEGATE_LOG_LEVEL_ERROR = 1, /* something is broken */
    FRAMEGATE_LOG_LEVEL_WARN = 2,  /* something is unusual, and was handled */
    FRAMEGATE_LOG_LEVEL_INFO = 3,  /* a change of state, for the operator */
    FRAMEGATE_LOG_LEVEL_DEBUG = 4  /* for developers */
};

/* Bytes that are valid during a call; UTF-8 where this file says text. Not zero-terminated. */
struct framegate_text {
    const uint8_t *data; /* may be anything if len is 0 */
    size_t len;          /* bytes */
};

/* Room for an error's message. The host owns it; it is valid during the call. */
struct framegate_error {
    uint8_t *data;   /* room for the message; not cleared */
    size_t capacity; /* capacity in bytes */
    size_t len;      /* the plugin sets it: bytes of the message, UTF-8, at most capacity */
    int32_t kind;    /* the plugin sets it: a FRAMEGATE_ERROR_KIND */
};

/* The answer to get_extension. */
struct framegate_extension {
    size_t size;       /* of the table in bytes; 0 if there is no such extension */
    uint32_t version;  /* increases when the meaning of a function in the table changes */
    const void *table; /* lives as long as the process */
};

/* The host's functions, created for one source. */
struct framegate_host {
    void *context; /* the first argument of every function */
    /* [any thread] Writes one line of at most 8 KiB to the host's log, with the stream's name; level is a
     * FRAMEGATE_LOG_LEVEL. Log one line for a change of state; count frequent events instead. framegate_logf formats. */
    void (*log)(void *context, int32_t level, struct framegate_text message);
    /* [any thread] The most detailed FRAMEGATE_LOG_LEVEL that the host's log takes; it drops other lines. */
    int32_t (*log_level)(void *context);
    /* [any thread] Not 0 while the current call should return soon. */
    int32_t (*stop_requested)(void *context);
    /* [any thread] A descriptor that poll shows as readable while a stop is requested, to wait on beside your own.
     * Never read from it, never close it. It is always the same, and open until release. */
    int32_t (*stop_descriptor)(void *context);
    /* [any thread] Returns an extension of the host, by its id. There are none yet. */
    struct framegate_extension (*get_extension)(void *context, struct framegate_text id);
    /* [any thread] Releases the context, once: call none of these functions afterwards. */
    void (*release)(void *context);
};

/* One buffer of an event. Its bytes are sent without a copy, so they must stay unchanged until release. */
struct framegate_frame {
    const uint8_t *data; /* may be anything if len is 0 */
    size_t len;          /* bytes */
    void *owner;         /* passed to release */
    /* [any thread] Releases the bytes; called exactly once, perhaps while another thread is in next, and perhaps after
     * destroy. It must not wait. NULL for bytes that live as long as the process. */
    void (*release)(void *owner);
};

/* One event. */
struct framegate_event {
    /* The protocol's name, as receivers see it: text of at most 64 bytes, valid until the next call; use only a few. */
    struct framegate_text typ;
    size_t frames; /* how many: the next ones in the batch's array of frames */
    int32_t kind;  /* a FRAMEGATE_EVENT_KIND */
};

/* What next fills: two arrays of the host. The frames of all events are in one array, in the order of the events.
 * framegate_push adds an event. */
struct framegate_batch {
    struct framegate_event *events; /* room; not cleared */
    size_t events_len;              /* the plugin increments it, after it has written the event */
    size_t events_capacity;         /* size of the room */
    struct framegate_frame *frames; /* room; not cleared */
    size_t frames_len;              /* the same; a counted frame belongs to the host, even if the call fails */
    size_t frames_capacity;         /* size of the room */
    size_t max_events;              /* next should return with this many events, */
    size_t max_bytes;               /* or with this many bytes in frames */
    int32_t progress;               /* next sets it: a FRAMEGATE_PROGRESS */
    /* [source thread, inside the call that got the batch] Makes room for this many more events and frames; events
     * and frames may point elsewhere afterwards. Returns FRAMEGATE_OUTCOME_DONE, or FAILED if the host has no room. */
    int32_t (*grow)(struct framegate_batch *batch, size_t events, size_t frames);
};

/* Takes the text that the host asked for; valid during the call. */
struct framegate_sink {
    void *context; /* the first argument of take */
    /* [source thread, inside the call that got the sink] Takes a text, or the next piece of it. */
    void (*take)(void *context, struct framegate_text text);
};

/* What a run tells about itself; the host shows it in its status and metrics. Give what you know; valid during the call. */
struct framegate_status {
    void *context; /* the first argument of the functions */
    /* [source thread, inside the call] A counter of this run: its name, one or two words with underscores, and its
     * count, which only goes up. */
    void (*counter)(void *context, struct framegate_text name, uint64_t count);
    /* [source thread, inside the call] A reason, a few words for people, and the number of messages of this run that
     * gave no event for this reason. */
    void (*skipped)(void *context, struct framegate_text reason, uint64_t count);
    /* [source thread, inside the call] Why the last invalid message was invalid: one line. */
    void (*last_invalid)(void *context, struct framegate_text reason);
    /* [source thread, inside the call] The detector's address. */
    void (*peer)(void *context, struct framegate_text address);
    uint64_t bytes_waiting;    /* the plugin sets it: bytes received and not yet delivered; at first 0 */
    uint64_t connected_for_ns; /* the plugin sets it: for how many nanoseconds `connected` has had its value */
    int32_t connected;         /* the plugin sets it: a FRAMEGATE_CONNECTED; at first UNKNOWN */
};

/* A flag: only one source can hold its resources (a listening port); the host destroys it before it creates another. */
#define FRAMEGATE_EXCLUSIVE 1

/* The plugin's functions: what FRAMEGATE_PLUGIN exports. Exactly one of next and trigger is NULL. held_back,
 * status, parameters, set_parameter and get_extension may be NULL, the others not. */
struct framegate_plugin {
    uint32_t size;      /* of this table in bytes */
    uint32_t abi_major; /* FRAMEGATE_ABI_MAJOR */
    uint32_t abi_minor; /* FRAMEGATE_ABI_MINOR */
    uint32_t flags;     /* FRAMEGATE_EXCLUSIVE, or 0 */
    /* [source thread] Creates a source, and puts its address, which is not NULL, into `*source`; it is the first
     * argument of the other functions.
     *   host      valid during the call: copy the struct. Its context belongs to the plugin from here on, whatever
     *             the outcome: call host->release once, when the source is destroyed or create fails.
     *   stream    the stream's name in the configuration: text.
     *   settings  the stream's `settings` in the configuration: a JSON object, as text. The functions of
     *             framegate_settings.h read it. */
    int32_t (*create)(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error);
    /* [source thread, closed] Ends the source. */
    int32_t (*destroy)(void *source, struct framegate_error *error);
    /* [source thread, closed] Opens the run of a scan. */
    int32_t (*open)(void *source, struct framegate_error *error);
    /* [source thread, open] Ends the run. The host may still hold frames of the run. */
    int32_t (*close)(void *source, struct framegate_error *error);
    /* [source thread, open] Puts events into the batch and sets batch->progress. Waits for the first event at most
     * left_ns nanoseconds; does not wait for a second one. */
    int32_t (*next)(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error);
    /* [source thread, open] Instead of next, for a source without a detector of its own: puts the one event for this
     * number into the batch; the other streams have delivered theirs. */
    int32_t (*trigger)(void *source, uint64_t event_number, struct framegate_batch *batch,
                       struct framegate_error *error);
    /* [source thread, open] Called every 100 ms in place of next while the host has no room for further events: keep
     * connections alive here, without waiting. */
    int32_t (*held_back)(void *source, struct framegate_error *error);
    /* [source thread, open] Tells about the run; called a few times a second. */
    int32_t (*status)(void *source, struct framegate_status *status, struct framegate_error *error);
    /* [source thread] Describes the parameters, values that people change between scans without a restart: gives one
     * text to `out`, a JSON list of objects with name, description, dtype ("str", "binary", "int", "float", "bool") and
     * default. Called once, after create. */
    int32_t (*parameters)(void *source, const struct framegate_sink *out, struct framegate_error *error);
    /* [source thread] A new value of a parameter: text ("5", "0.1", "True"), or raw bytes for "binary". Between two
     * calls of next, or while closed. After an error the old value stays. */
    int32_t (*set_parameter)(void *source, struct framegate_text name, struct framegate_text value,
                             struct framegate_error *error);
    /* [any thread] Returns an extension of the plugin, by its id; one of size 0 for an unknown id. */
    struct framegate_extension (*get_extension)(struct framegate_text id);
};

/* ---- Helpers ------------------------------------------------------------------------------------------------------ */

#define FRAMEGATE_HELPER static inline __attribute__((unused))
#ifdef __cplusplus
#define FRAMEGATE_ASSERT(holds, otherwise) static_assert(holds, otherwise)
#else
#define FRAMEGATE_ASSERT(holds, otherwise) _Static_assert(holds, otherwise)
#endif

/* Borrows a C string. */
FRAMEGATE_HELPER struct framegate_text framegate_string(const char *string) {
    struct framegate_text text = {(const uint8_t *)string, strlen(string)};
    return text;
}

/* Whether a text equals this C string. */
FRAMEGATE_HELPER int framegate_is(struct framegate_text text, const char *string) {
    return text.len == strlen(string) && memcmp(text.data, string, text.len) == 0;
}

/* Puts kind and message into error, and returns FRAMEGATE_OUTCOME_FAILED. Say what happened, where, and what to do. */
FRAMEGATE_HELPER __attribute__((format(printf, 3, 4))) int32_t
framegate_failf(struct framegate_error *error, int32_t kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf((char *)error->data, error->capacity, format, arguments);
    va_end(arguments);
    size_t most = error->capacity > 0 ? error->capacity - 1 : 0;
    error->len = length < 0 ? 0 : (size_t)length < most ? (size_t)length : most;
    error->kind = kind;
    return FRAMEGATE_OUTCOME_FAILED;
}

/* Writes one line to the host's log, of at most 500 bytes. [any thread] */
FRAMEGATE_HELPER __attribute__((format(printf, 3, 4))) void
framegate_logf(const struct framegate_host *host, int32_t level, const char *format, ...) {
    char line[501];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length >= 0) host->log(host->context, level, framegate_string(line));
}

/* Adds one event with these frames to the batch; the frames then belong to the host. typ must live as long as the process.
 * Returns FAILED, with the reason in error, if the host has no room: the frames are then still yours. */
FRAMEGATE_HELPER int32_t framegate_push(struct framegate_batch *batch, const char *typ, int32_t kind,
                                        const struct framegate_frame *frames, size_t count,
                                        struct framegate_error *error) {
    if ((batch->events_len == batch->events_capacity || batch->frames_capacity - batch->frames_len < count) &&
        batch->grow(batch, 1, count) != FRAMEGATE_OUTCOME_DONE)
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_INTERNAL, "the host has no room for %zu more frames", count);
    struct framegate_event event = {framegate_string(typ), count, kind};
    if (count > 0) memcpy(batch->frames + batch->frames_len, frames, count * sizeof *frames);
    batch->frames_len += count;
    batch->events[batch->events_len++] = event;
    return FRAMEGATE_OUTCOME_DONE;
}

/* ---- The note, and the export ------------------------------------------------------------------------------------- */

/* The note's content: the host reads it before any code of the plugin runs. Texts are UTF-8, padded with zeros. */
struct framegate_description {
    uint32_t abi_major, abi_minor;
    uint32_t language; /* FRAMEGATE_LANGUAGE_C */
    uint32_t debug;    /* 1 for a build without optimisation */
    char table[128];   /* the symbol of the table */
    char protocol[32], name[64], version[32], compiler[96];
    char layout[128]; /* empty in C */
};

enum { FRAMEGATE_LANGUAGE_RUST = 1, FRAMEGATE_LANGUAGE_C = 2 };

/* An ELF note, as stored in the file. */
struct framegate_note {
    uint32_t owner_len, description_len, kind;
    char owner[12];
    struct framegate_description description;
};

#define FRAMEGATE_NOTE_SECTION ".note.framegate"
#define FRAMEGATE_NOTE_OWNER "Framegate"
#define FRAMEGATE_NOTE_KIND 1
#ifdef __clang__
/* Not __clang_version__, which may have the address of a repository and be too long for the note. */
#define FRAMEGATE_QUOTED_(text) #text
#define FRAMEGATE_QUOTED(text) FRAMEGATE_QUOTED_(text)
#define FRAMEGATE_COMPILER                                                                                                \
    "clang " FRAMEGATE_QUOTED(__clang_major__) "." FRAMEGATE_QUOTED(__clang_minor__) "." FRAMEGATE_QUOTED(__clang_patchlevel__)
#else
#define FRAMEGATE_COMPILER "gcc " __VERSION__
#endif
#ifdef __OPTIMIZE__
#define FRAMEGATE_DEBUG 0
#else
#define FRAMEGATE_DEBUG 1
#endif

/* Exports a plugin, once in a library. The table follows:
 *
 *     FRAMEGATE_PLUGIN(mine, "my-protocol", "my-plugin", "1.2.0") = {
 *         FRAMEGATE_TABLE, .create = my_create, .destroy = my_destroy, .open = my_open, .close = my_close, .next = my_next,
 *     };
 *
 * In C++ give all entries in their order, NULL for those that are not there. The first argument is an identifier, which becomes part of the symbol; then the protocol, the plugin's name, and its version. */
#define FRAMEGATE_TABLE sizeof(struct framegate_plugin), FRAMEGATE_ABI_MAJOR, FRAMEGATE_ABI_MINOR
#define FRAMEGATE_PLUGIN(symbol, protocol, name, version)                                                                 \
    FRAMEGATE_ASSERT(sizeof "framegate_table_" #symbol <= 128, "the plugin's symbol is too long for its note");           \
    FRAMEGATE_ASSERT(sizeof protocol <= 32, "the protocol's name is too long for the note: at most 31 bytes");           \
    FRAMEGATE_ASSERT(sizeof name <= 64, "the plugin's name is too long for its note: at most 63 bytes");                  \
    FRAMEGATE_ASSERT(sizeof version <= 32, "the plugin's version is too long for its note: at most 31 bytes");            \
    static const struct framegate_note framegate_note_##symbol                                                            \
        __attribute__((section(FRAMEGATE_NOTE_SECTION), used, aligned(4))) = {                                            \
            sizeof FRAMEGATE_NOTE_OWNER, sizeof(struct framegate_description), FRAMEGATE_NOTE_KIND, FRAMEGATE_NOTE_OWNER, \
            {FRAMEGATE_ABI_MAJOR, FRAMEGATE_ABI_MINOR, FRAMEGATE_LANGUAGE_C, FRAMEGATE_DEBUG,                             \
             "framegate_table_" #symbol, protocol, name, version, FRAMEGATE_COMPILER, ""}};                                    \
    FRAMEGATE_EXPORTED const struct framegate_plugin framegate_table_##symbol __attribute__((visibility("default")));      \
    const struct framegate_plugin framegate_table_##symbol

#ifdef __cplusplus
#define FRAMEGATE_EXPORTED extern "C"
}
#else
#define FRAMEGATE_EXPORTED extern
#endif

#endif
