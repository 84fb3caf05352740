/* Releases the host's context twice. */
#include "base.h"

static int32_t destroy(void *source, struct framegate_error *error) {
    struct framegate_host host = ((struct source *)source)->host;
    base_destroy(source, error);
    host.release(host.context);
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE(base_create, destroy, base_open, base_next, base_close);
