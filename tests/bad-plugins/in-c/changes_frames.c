/* Gives the same buffer repeatedly, and writes into it while the host still has it. */
#include "base.h"

static uint8_t buffer[64];

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    memset(buffer, ++self->flag, sizeof buffer);
    if (self->given == 10) return base_next(source, batch, left_ns, error);
    self->given++;
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, buffer, sizeof buffer, NULL, NULL, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
