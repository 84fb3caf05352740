/* Gives the same buffer of 64 KiB, which is not copied, as two frames of an event. The buffer has a reference count, so only the
 * count goes wrong. */
#include "base.h"

struct shared {
    int users;
    uint8_t bytes[65536];
};

static void release(void *owner) {
    struct shared *shared = owner;
    if (__atomic_sub_fetch(&shared->users, 1, __ATOMIC_ACQ_REL) == 0) free(shared);
}

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 10) return base_next(source, batch, left_ns, error);
    self->given++;
    struct shared *shared = calloc(1, sizeof *shared);
    shared->users = 2;
    struct framegate_frame frame = {shared->bytes, sizeof shared->bytes, shared, release};
    struct framegate_frame frames[] = {frame, frame};
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return framegate_push(batch, "BAD", FRAMEGATE_EVENT_KIND_DATA, frames, 2, error);
}

FIXTURE(base_create, base_destroy, base_open, next, base_close);
