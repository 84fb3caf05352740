/* Opens a descriptor in each run, and closes them only at its end. */
#include "base.h"

static int taken[1000], count;

static int32_t open_run(void *source, struct framegate_error *error) {
    if (count < 1000) taken[count++] = dup(0);
    return base_open(source, error);
}

static int32_t destroy(void *source, struct framegate_error *error) {
    while (count > 0) close(taken[--count]);
    return base_destroy(source, error);
}

FIXTURE(base_create, destroy, open_run, base_next, base_close);
