/* A source plugin in C: ten events of one static byte each in every scan.
 *
 * It exports the table of functions itself, under the symbol that its note names. See framegate_plugin_abi::vtable, whose structs these are. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct text { const uint8_t *data; size_t len; };
struct error { uint8_t *data; size_t capacity, len; int32_t kind; };
struct extension { size_t size; uint32_t version; const void *layout, *table; };
struct host {
    void *context;
    int32_t (*stop_requested)(void *);
    int32_t (*stop_descriptor)(void *);
    struct extension (*get_extension)(void *, struct text);
    void (*release)(void *);
};
struct log { void (*log)(void *, int32_t, struct text); };
struct frame { const uint8_t *data; size_t len; void *owner; void (*release)(void *); };
struct event { struct text typ; size_t frames; int32_t kind; };
struct batch {
    struct event *events;
    size_t events_len, events_capacity;
    struct frame *frames;
    size_t frames_len, frames_capacity, max_events, max_bytes;
    int32_t progress;
    int32_t (*grow)(struct batch *, size_t, size_t);
};
struct plugin {
    uint32_t size, abi_major, abi_minor, flags;
    int32_t (*create)(const struct host *, struct text, struct text, void **, struct error *);
    int32_t (*destroy)(void *, struct error *);
    int32_t (*open)(void *, struct error *);
    int32_t (*next)(void *, struct batch *, uint64_t, struct error *);
    int32_t (*close)(void *, struct error *);
    struct extension (*get_extension)(struct text);
};

static const uint8_t BYTES[] = "0123456789";

static struct text text(const char *chars) { return (struct text){(const uint8_t *)chars, strlen(chars)}; }

static int32_t create(const struct host *host, struct text stream, struct text settings, void **instance,
                      struct error *error) {
    (void)stream, (void)settings, (void)error;
    struct extension log = host->get_extension(host->context, text("framegate.log"));
    if (log.size == sizeof(struct log)) ((const struct log *)log.table)->log(host->context, 3, text("C counts too"));
    host->release(host->context);
    *instance = calloc(1, sizeof(int));
    return 0;
}

static int32_t destroy(void *instance, struct error *error) {
    (void)error;
    free(instance);
    return 0;
}

#ifdef WITHOUT_LIBRARY
int framegate_test_function_that_nobody_has(void);
#else
static int framegate_test_function_that_nobody_has(void) { return 0; }
#endif

static int32_t open_run(void *instance, struct error *error) {
    (void)error;
    *(int *)instance = framegate_test_function_that_nobody_has();
    return 0;
}

__attribute__((unused)) static int32_t next(void *instance, struct batch *batch, uint64_t left_ns, struct error *error) {
    (void)left_ns, (void)error;
    int *given = instance;
    while (*given < 10 && batch->events_len < batch->events_capacity && batch->frames_len < batch->frames_capacity) {
        batch->frames[batch->frames_len++] = (struct frame){&BYTES[(*given)++], 1, NULL, NULL};
        batch->events[batch->events_len++] = (struct event){text("COUNTER"), 1, 2};
    }
    batch->progress = *given == 10 ? 3 : 1;
    return 0;
}

static int32_t close_run(void *instance, struct error *error) {
    (void)instance, (void)error;
    return 0;
}

static struct extension get_extension(struct text id) {
    (void)id;
    return (struct extension){0, 0, NULL, NULL};
}

const struct plugin framegate_root_counter = {
    sizeof(struct plugin), 1, 0, 0, create, destroy, open_run,
#ifdef WITHOUT_NEXT
    NULL,
#else
    next,
#endif
    close_run, get_extension,
};

static const struct {
    uint32_t owner_len, description_len, kind;
    char owner[12];
    uint32_t abi_major, abi_minor, language, debug;
    char root[128], protocol[32], name[64], version[32], compiler[96];
} NOTE __attribute__((section(".note.framegate"), used, aligned(4))) = {
    10, 368, 1, "Framegate", 1, 0, 2, 0, "framegate_root_counter", "counter", "counter-in-c", "0.3.0", "cc",
};
