/* Takes 1.5 s to return after a stop request. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    self->flag |= self->host.stop_requested(self->host.context);
    return base_next(source, batch, left_ns, error);
}

static int32_t close_run(void *source, struct framegate_error *error) {
    if (((struct source *)source)->flag) wait_ms(1500);
    return base_close(source, error);
}

FIXTURE(base_create, base_destroy, base_open, next, close_run);
