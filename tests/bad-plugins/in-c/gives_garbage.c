/* Gives a frame whose bytes are at an invalid address. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    (void)source, (void)left_ns;
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, NULL, 1000, NULL, NULL, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
