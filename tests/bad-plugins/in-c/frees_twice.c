/* Frees a frame twice when the host releases it after the source was destroyed. */
#include "base.h"

static int gone;

static void release(void *owner) {
    /* Hides the double free from the compiler. */
    void *volatile again = owner;
    free(owner);
    if (gone) free(again);
}

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    gone = 0;
    return base_create(host, stream, settings, source, error);
}

static int32_t destroy(void *source, struct framegate_error *error) {
    gone = 1;
    return base_destroy(source, error);
}

static int32_t next(void *source, struct framegate_batch *batch, uint64_t left_ns, struct framegate_error *error) {
    struct source *self = source;
    if (self->given == 10) return base_next(source, batch, left_ns, error);
    uint8_t *buffer = new_buffer(self->given++);
    batch->progress = FRAMEGATE_PROGRESS_MORE;
    return give(batch, buffer, 64, buffer, release, error);
}

FIXTURE(create, destroy, base_open, next, base_close);
