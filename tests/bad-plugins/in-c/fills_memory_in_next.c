/* Gives three events, and takes memory until there is none. */
#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 3) {
        for (;;) {
            void *more = malloc(64 << 20);
            if (!more) abort();
            memset(more, 1, 64 << 20);
        }
    }
    return base_next(source, batch, left_ns, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
