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

static struct framegate_extension get_extension(struct framegate_text id) {
    static const struct framegate_trigger triggers = {trigger};
    if (framegate_is(id, FRAMEGATE_TRIGGER)) return FRAMEGATE_OFFER(FRAMEGATE_TRIGGER, &triggers);
    return framegate_no_extension();
}

FIXTURE_WITH(base_create, base_destroy, base_open, base_next, base_close, get_extension);
