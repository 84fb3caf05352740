/* Returns a code from next that does not exist. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    base_next(source, batch, left_ns, error);
    return 77;
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
