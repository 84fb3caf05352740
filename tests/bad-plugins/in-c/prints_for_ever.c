/* Prints as fast as it can, on a thread of its own. */
#include "base.h"

static void *print(void *nothing) {
    for (;;) printf("a line of the vendor's library\n"), fflush(stdout);
    return nothing;
}

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    pthread_t thread;
    pthread_create(&thread, NULL, print, NULL);
    pthread_detach(thread);
    return base_create(host, stream, settings, source, error);
}

FIXTURE(create, base_destroy, base_open, base_next, base_close);
