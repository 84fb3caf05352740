/* One of its threads keeps calling the host for two seconds after the source's end. */
#include "base.h"

static struct framegate_host host;

static void *call(void *unused) {
    for (int i = 0; i < 100; i++) {
        wait_ms(20);
        host.stop_requested(host.context);
        framegate_logf(&host, FRAMEGATE_LOG_LEVEL_WARN, "I am still here");
    }
    return unused;
}

static int32_t destroy(void *source, struct framegate_error *error) {
    pthread_t thread;
    host = ((struct source *)source)->host;
    pthread_create(&thread, NULL, call, NULL);
    pthread_detach(thread);
    return base_destroy(source, error);
}

FIXTURE(base_create, destroy, base_open, base_next, base_close);
