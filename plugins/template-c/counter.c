/* A source plugin in C, to copy: it counts, and gives each number as an image. The image is sent without copying it.
 *
 * README.md explains how to build and change it; framegate_plugin.h says what each function may and must do. */
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "framegate_plugin.h"
#include "framegate_settings.h"

/* Lives as long as a host uses this plugin for a stream. Only the source thread uses it. */
struct counter {
    struct framegate_host host;
    int64_t events, bytes, period_us; /* settings: events per scan, bytes per event, time between events */
    bool down;                        /* setting: counts down to 0 */
    int64_t given;                    /* in this scan */
    int64_t due_ns;                   /* time of the next event */
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Refuses a number of this setting that would make no sense. */
static int32_t check_range(const char *key, int64_t value, struct framegate_error *error) {
    if (value >= 0 && value <= 100000000) return FRAMEGATE_OUTCOME_DONE;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "settings.%s: expected 0 to 100000000, found %lld", key,
                           (long long)value);
}

/* Reads {"events": 10, "order": "down"}. A setting that is missing keeps its default. */
static int32_t read_settings(struct counter *self, struct framegate_text settings, struct framegate_error *error) {
    static const char *const known[] = {"events", "bytes", "period_us", "order", NULL};
    char order[16] = "up";
    if (framegate_settings_known(settings, known, error) != FRAMEGATE_OUTCOME_DONE ||
        framegate_setting_int(settings, "events", &self->events, error) != FRAMEGATE_OUTCOME_DONE ||
        framegate_setting_int(settings, "bytes", &self->bytes, error) != FRAMEGATE_OUTCOME_DONE ||
        framegate_setting_int(settings, "period_us", &self->period_us, error) != FRAMEGATE_OUTCOME_DONE ||
        framegate_setting_str(settings, "order", order, sizeof order, error) != FRAMEGATE_OUTCOME_DONE ||
        check_range("events", self->events, error) != FRAMEGATE_OUTCOME_DONE ||
        check_range("bytes", self->bytes, error) != FRAMEGATE_OUTCOME_DONE ||
        check_range("period_us", self->period_us, error) != FRAMEGATE_OUTCOME_DONE)
        return FRAMEGATE_OUTCOME_FAILED;
    self->down = strcmp(order, "down") == 0;
    if (self->down || strcmp(order, "up") == 0) return FRAMEGATE_OUTCOME_DONE;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS,
                           "settings.order: expected \"up\" or \"down\", found \"%s\"", order);
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
        framegate_logf(host, FRAMEGATE_LOG_LEVEL_INFO, "%.*s will count to %lld", (int)stream.len,
                       (const char *)stream.data, (long long)self->events);
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
        int64_t number = self->down ? self->events - 1 - self->given : self->given;
        uint8_t *image = calloc(1, (size_t)self->bytes + sizeof number);
        if (image == NULL) return framegate_failf(error, FRAMEGATE_ERROR_KIND_INTERNAL, "there is no memory");
        memcpy(image, &number, sizeof number);
        struct framegate_frame frame = {image, (size_t)self->bytes, image, release_image};
        if (framegate_push(batch, "COUNTER", FRAMEGATE_EVENT_KIND_DATA, &frame, 1, error) != FRAMEGATE_OUTCOME_DONE) {
            release_image(image);
            return FRAMEGATE_OUTCOME_FAILED;
        }
        bytes += frame.len;
        self->given++;
        self->due_ns += self->period_us * 1000;
    }
    batch->progress = self->given == self->events  ? FRAMEGATE_PROGRESS_END
                      : self->due_ns <= now_ns() ? FRAMEGATE_PROGRESS_MORE
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
