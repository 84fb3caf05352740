/* Runs an endless loop in create, on two threads. */
#include "base.h"

static volatile long counted;

static void *spin(void *unused) {
    for (;;) counted++;
    return unused;
}

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    (void)host, (void)stream, (void)settings, (void)source, (void)error;
    pthread_t thread;
    pthread_create(&thread, NULL, spin, NULL);
    spin(NULL);
    return 0;
}

FIXTURE(create, base_destroy, base_open, base_next, base_close);
