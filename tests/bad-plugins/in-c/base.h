/* A source that obeys all rules: ten events of 64 bytes in each run, one in each call of next. A fixture includes this file,
 * replaces the function that it gets wrong, and ends with FIXTURE. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "framegate_plugin.h"

struct source {
    struct framegate_host host;
    int given; /* events in this run */
    int flag;  /* for the fixture */
};

/* Calls of the host, for fixtures. */
#define UNUSED __attribute__((unused))

UNUSED static void wait_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

UNUSED static int32_t base_create(const struct framegate_host *host, struct framegate_text stream,
                                  struct framegate_text settings, void **source, struct framegate_error *error) {
    (void)stream;
    if (!framegate_is(settings, "{}")) {
        host->release(host->context);
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings: there are none");
    }
    struct source *self = calloc(1, sizeof *self);
    self->host = *host;
    *source = self;
    return FRAMEGATE_OUTCOME_DONE;
}

UNUSED static int32_t base_destroy(void *source, struct framegate_error *error) {
    struct source *self = source;
    (void)error;
    self->host.release(self->host.context);
    free(self);
    return FRAMEGATE_OUTCOME_DONE;
}

UNUSED static int32_t base_open(void *source, struct framegate_error *error) {
    (void)error;
    ((struct source *)source)->given = 0;
    return FRAMEGATE_OUTCOME_DONE;
}

/* Waits while there is nothing to give, as the host expects. */
UNUSED static void wait_for_stop(struct source *self, uint64_t left_ns) {
    struct pollfd stop = {self->host.stop_descriptor(self->host.context), POLLIN, 0};
    poll(&stop, 1, (int)(left_ns / 1000000));
}

/* Gives an event of one frame. */
UNUSED static int32_t give(struct framegate_batch *batch, const uint8_t *data, size_t len, void *owner,
                           void (*release)(void *), struct framegate_error *error) {
    struct framegate_frame frame = {data, len, owner, release};
    return framegate_push(batch, "BAD", FRAMEGATE_EVENT_KIND_DATA, &frame, 1, error);
}

UNUSED static uint8_t *new_buffer(int number) {
    uint8_t *buffer = malloc(64);
    memset(buffer, number, 64);
    return buffer;
}

UNUSED static int32_t base_next(void *source, struct framegate_batch *batch, uint64_t left_ns,
                                struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 10) {
        batch->progress = FRAMEGATE_PROGRESS_END;
        wait_for_stop(self, left_ns);
        return FRAMEGATE_OUTCOME_DONE;
    }
    uint8_t *buffer = new_buffer(self->given++);
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, buffer, 64, buffer, free, error);
}

UNUSED static int32_t base_refuse_parameter(void *source, struct framegate_text name, struct framegate_text value,
                                            struct framegate_error *error) {
    (void)source, (void)name, (void)value;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "no");
}

UNUSED static int32_t base_close(void *source, struct framegate_error *error) {
    (void)source, (void)error;
    return FRAMEGATE_OUTCOME_DONE;
}

/* The compiler's arguments define NAME, the fixture's name. The arguments after `close` name fields of the table. */
#define FIXTURE_WITH(flags, create, destroy, open, close, ...) \
    FRAMEGATE_PLUGIN(bad, "bad", NAME, "0.0.0") = {FRAMEGATE_TABLE, flags, create, destroy, open, close, __VA_ARGS__}
#define FIXTURE(create, destroy, open, next_function, close) \
    FIXTURE_WITH(0, create, destroy, open, close, .next = next_function)
