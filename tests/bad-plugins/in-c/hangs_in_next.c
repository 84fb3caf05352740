/* Gives one event, and never returns from the call after it. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    while (((struct source *)source)->given == 1) pause();
    return base_next(source, batch, left_ns, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
