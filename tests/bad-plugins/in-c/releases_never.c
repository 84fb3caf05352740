/* Does nothing when a frame of 64 KiB is released. */
#include "base.h"

static void keep(void *owner) { (void)owner; }

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 10) return base_next(source, batch, left_ns, error);
    uint8_t *buffer = malloc(65536);
    memset(buffer, self->given++, 65536);
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, buffer, 65536, buffer, keep, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
