/* Never returns when it is dropped. */
#include "base.h"

static int32_t destroy(void *source, struct framegate_error *error) {
    while (source) pause();
    return base_destroy(source, error);
}

FIXTURE(base_create, destroy, base_open, base_next, base_close);
