/* Never returns from create, and only one instance can exist. */
#include "base.h"

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    (void)host, (void)stream, (void)settings, (void)source, (void)error;
    for (;;) pause();
    return 0;
}

FIXTURE_WITH(FRAMEGATE_EXCLUSIVE, create, base_destroy, base_open, base_close, .next = base_next);
