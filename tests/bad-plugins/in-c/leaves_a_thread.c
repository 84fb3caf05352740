/* One of its threads still runs after the source's end. */
#include "base.h"

static void *stay(void *unused) {
    for (;;) pause();
    return unused;
}

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    pthread_t thread;
    int32_t outcome = base_create(host, stream, settings, source, error);
    if (outcome == FRAMEGATE_OUTCOME_DONE) pthread_create(&thread, NULL, stay, NULL);
    return outcome;
}

FIXTURE(create, base_destroy, base_open, base_next, base_close);
