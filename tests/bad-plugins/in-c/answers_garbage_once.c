/* Returns a code that does not exist from the first call of next, and obeys all rules afterwards. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    static int answered;
    if (!answered) return answered = 77;
    return base_next(source, batch, left_ns, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
