/* Describes its parameters as plain text instead of JSON. */
#include "base.h"

static int32_t describe(void *source, const struct framegate_sink *out, struct framegate_error *error) {
    (void)source, (void)error;
    out->take(out->context, framegate_string("gain, of course"), 0);
    return FRAMEGATE_OUTCOME_DONE;
}

static int32_t set(void *source, struct framegate_text name, struct framegate_text value, struct framegate_error *error) {
    (void)source, (void)name, (void)value;
    return framegate_failf(error, FRAMEGATE_ERROR_KIND_SETTINGS, "no");
}

static struct framegate_extension get_extension(struct framegate_text id) {
    static const struct framegate_parameters parameters = {describe, set};
    if (framegate_is(id, FRAMEGATE_PARAMETERS)) return FRAMEGATE_OFFER(FRAMEGATE_PARAMETERS, &parameters);
    return framegate_no_extension();
}

FIXTURE_WITH(base_create, base_destroy, base_open, base_next, base_close, get_extension);
