/* Never releases the host's context. */
#include "base.h"

static int32_t destroy(void *source, struct framegate_error *error) {
    (void)error;
    free(source);
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE(base_create, destroy, base_open, base_next, base_close);
