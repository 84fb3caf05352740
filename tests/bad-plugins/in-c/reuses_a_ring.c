/* Gives four static buffers in turn, without a release function, and ends before the host checks them again. */
#include "base.h"

static uint8_t ring[4][64];

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 10) return base_next(source, batch, left_ns, error);
    uint8_t *buffer = ring[self->given % 4];
    memset(buffer, self->given++, sizeof ring[0]);
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, buffer, sizeof ring[0], NULL, NULL, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
