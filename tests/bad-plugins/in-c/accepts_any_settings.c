/* Ignores its settings, so that nobody notices a mistyped one. */
#include "base.h"

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    (void)settings;
    return base_create(host, stream, framegate_string("{}"), source, error);
}

FIXTURE(create, base_destroy, base_open, base_next, base_close);
