/* Takes 100 ms for a call of next that has less than 20. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    if (left_ns < 20000000) wait_ms(100);
    return base_next(source, batch, left_ns, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
