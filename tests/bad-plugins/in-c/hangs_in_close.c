/* Never returns when its run is dropped. */
#include "base.h"

static int32_t close_run(void *source, struct framegate_error *error) {
    while (source) pause();
    return base_close(source, error);
}

FIXTURE(base_create, base_destroy, base_open, base_next, close_run);
