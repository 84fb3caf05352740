/* Gives two events for each requested number. */
#include "base.h"

static int32_t trigger(void *source, uint64_t number, struct framegate_batch *batch, struct framegate_error *error) {
    (void)source;
    for (int i = 0; i < 2; i++) {
        uint8_t *buffer = new_buffer((int)number);
        give(batch, buffer, 64, buffer, free, error);
    }
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE_WITH(0, base_create, base_destroy, base_open, base_close, .trigger = trigger);
