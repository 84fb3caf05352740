/* Reports the end of the run at once, on every call. That is allowed. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    if (((struct source *)source)->given < 10) return base_next(source, batch, left_ns, error);
    batch->progress = FRAMEGATE_PROGRESS_END;
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
