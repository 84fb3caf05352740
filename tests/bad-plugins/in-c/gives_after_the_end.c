/* Keeps giving events after it has reported the end of the run. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    int ended = self->given >= 9;
    if (self->given == 10) self->given = 9;
    int32_t outcome = base_next(source, batch, left_ns, error);
    if (ended) batch->progress = FRAMEGATE_PROGRESS_END;
    return outcome;
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
