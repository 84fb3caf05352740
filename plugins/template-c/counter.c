/* A source plugin in C, to copy: it counts, and gives each number as an image. The image is sent without copying it.
 *
 * README.md explains how to build and change it; framegate_plugin.h says what each function may and must do. */
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "framegate_plugin.h"

/* Lives as long as a host uses this plugin for a stream. Only the source thread uses it. */
struct counter {
    struct framegate_host host;
    long events, bytes, period_us; /* settings: events per scan, bytes per event, time between events */
    long given;                    /* in this scan */
    int64_t due_ns;                /* time of the next event */
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Reads {"events": 10, "bytes": 64}: whole numbers only. A plugin that needs more JSON links a library for it. */
static int32_t read_settings(struct counter *self, struct framegate_text settings, struct framegate_error *error) {
    char json[512], name[32];
    long value;
    int used = 0;
    snprintf(json, sizeof json, "%.*s", (int)settings.len, (const char *)settings.data);
    const char *at = json + (json[0] == '{');
    while (used = 0, sscanf(at, " \"%31[^\"]\" : %ld %n", name, &value, &used) == 2 && used > 0) {
        long *field = strcmp(name, "events") == 0      ? &self->events
                      : strcmp(name, "bytes") == 0     ? &self->bytes
                      : strcmp(name, "period_us") == 0 ? &self->period_us
                                                       : NULL;
        if (field == NULL)
            return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS,
                                   "settings.%s: there is no such setting; there are events, bytes and period_us", name);
        if (value < 0 || value > 100000000)
            return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings.%s: expected 0 to 100000000", name);
        *field = value;
        at += used;
        at += *at == ',';
    }
    if (json[0] != '{' || at[strspn(at, " ")] != '}')
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings: expected whole numbers, found %.40s", at);
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t counter_create(const struct framegate_host *host, struct framegate_text stream,
                              struct framegate_text settings, void **source, struct framegate_error *error) {
    struct counter *self = calloc(1, sizeof *self);
    int32_t outcome;
    if (self == NULL) {
        outcome = framegate_failf(error, FRAMEGATE_ERROR_KIND_INTERNAL, "there is no memory");
    } else {
        *self = (struct counter){.host = *host, .events = 100, .bytes = 1024, .period_us = 1000};
        outcome = read_settings(self, settings, error);
    }
    if (outcome == FRAMEGATE_OUTCOME_DONE) {
        framegate_logf(host, FRAMEGATE_LOG_LEVEL_INFO, "%.*s will count to %ld", (int)stream.len,
                       (const char *)stream.data, self->events);
        *source = self;
    } else {
        host->release(host->context); /* also on failure: the context is ours since the call */
        free(self);
    }
    return outcome;
}

static int32_t counter_destroy(void *source, struct framegate_error *error) {
    struct counter *self = source;
    (void)error;
    self->host.release(self->host.context);
    free(self); /* not the frames: the host may still have some */
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t counter_open(void *source, struct framegate_error *error) {
    struct counter *self = source;
    (void)error;
    self->given = 0; /* connect to the detector here: what it sends after this must not be lost */
    self->due_ns = now_ns();
    return FRAMEGATE_OUTCOME_DONE;
}

/* Called by the host, once for each frame, on any thread, when the last receiver has the bytes. */
static void release_image(void *owner) { free(owner); }

static int32_t counter_next(void *source, struct framegate_batch *batch, uint64_t left_ns,
                            struct framegate_error *error) {
    struct counter *self = source;
    int64_t wait_ns = self->due_ns - now_ns();
    if (self->given == self->events) wait_ns = 0;
    if (wait_ns > 0) { /* wait for the detector here, and for the descriptor that asks us to return */
        struct pollfd stop = {self->host.stop_descriptor(self->host.context), POLLIN, 0};
        if ((uint64_t)wait_ns > left_ns) wait_ns = (int64_t)left_ns;
        poll(&stop, 1, (int)((wait_ns + 999999) / 1000000));
    }
    size_t bytes = 0;
    while (self->given < self->events && self->due_ns <= now_ns() && batch->events_len < batch->max_events &&
           bytes < batch->max_bytes) {
        uint8_t *image = calloc(1, (size_t)self->bytes + sizeof self->given);
        if (image == NULL) return framegate_failf(error, FRAMEGATE_ERROR_KIND_INTERNAL, "there is no memory");
        memcpy(image, &self->given, sizeof self->given);
        struct framegate_frame frame = {image, (size_t)self->bytes, image, release_image};
        if (framegate_push(batch, "COUNTER", FRAMEGATE_EVENT_KIND_DATA, &frame, 1, error) != FRAMEGATE_OUTCOME_DONE) {
            release_image(image);
            return FRAMEGATE_OUTCOME_FAILED;
        }
        bytes += frame.len;
        self->given++;
        self->due_ns += self->period_us * 1000;
    }
    batch->progress = self->given == self->events ? FRAMEGATE_PROGRESS_END
                      : batch->events_len > 0     ? FRAMEGATE_PROGRESS_MORE
                                                  : FRAMEGATE_PROGRESS_IDLE;
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t counter_close(void *source, struct framegate_error *error) {
    (void)source, (void)error; /* disconnect here */
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t counter_status(void *source, struct framegate_status *status, struct framegate_error *error) {
    (void)error;
    status->counter(status->context, framegate_string("images"), (uint64_t)((struct counter *)source)->given);
    return FRAMEGATE_OUTCOME_DONE;
}

FRAMEGATE_PLUGIN(counter, "counter", "counter-in-c", "0.1.0") = {
    FRAMEGATE_TABLE,
    .create = counter_create,
    .destroy = counter_destroy,
    .open = counter_open,
    .close = counter_close,
    .next = counter_next,
    .status = counter_status,
};
