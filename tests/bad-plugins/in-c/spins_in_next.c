/* Returns at once from next when there is nothing, instead of waiting. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given < 5) return base_next(source, batch, left_ns, error);
    batch->progress = FRAMEGATE_PROGRESS_IDLE;
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
