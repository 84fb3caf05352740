/* Gives three events, leaves a child that has all descriptors, and dies. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 3) {
        if (fork() == 0) pause();
        raise(SIGKILL);
    }
    return base_next(source, batch, left_ns, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
