/* Puts a counter into the type of its events. */
#include <stdio.h>

#include "base.h"

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    (void)source, (void)left_ns;
    static unsigned events;
    static char typs[100][20]; /* kept until the next call */
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    for (int number = 0; number < 100; number++) {
        char *typ = typs[number];
        snprintf(typ, sizeof typs[number], "BAD %u", events++);
        uint8_t *buffer = new_buffer(number);
        struct framegate_frame frame = {buffer, 64, buffer, free};
        int32_t outcome = framegate_push(batch, typ, FRAMEGATE_EVENT_KIND_DATA, &frame, 1, error);
        if (outcome != FRAMEGATE_OUTCOME_DONE) return outcome;
    }
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
