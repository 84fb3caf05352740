/* Describes its parameters as plain text instead of JSON. */
#include "base.h"

static int32_t describe(void *source, const struct framegate_sink *out, struct framegate_error *error) {
    (void)source, (void)error;
    out->take(out->context, framegate_string("gain, of course"));
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t set(void *source, struct framegate_text name, struct framegate_text value, struct framegate_error *error) {
    (void)source, (void)name, (void)value;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "no");
}

FIXTURE_WITH(0, base_create, base_destroy, base_open, base_close, .next = base_next, .parameters = describe,
             .set_parameter = set);
