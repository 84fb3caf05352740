/* Is exclusive, and returns a code from next that does not exist: the host does not call it again, so its place is never freed. */
#include "base.h"

static int taken;

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    if (taken) {
        host->release(host->context);
        return framegate_failf(error, FRAMEGATE_ERROR_KIND_CONNECT, "the place is taken");
    }
    int32_t outcome = base_create(host, stream, settings, source, error);
    taken = outcome == FRAMEGATE_OUTCOME_DONE;
    return outcome;
}

static int32_t destroy(void *source, struct framegate_error *error) {
    taken = 0;
    return base_destroy(source, error);
}

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    base_next(source, batch, left_ns, error);
    return 77;
}

FIXTURE_WITH(FRAMEGATE_EXCLUSIVE, create, destroy, base_open, base_close, .next = next);
