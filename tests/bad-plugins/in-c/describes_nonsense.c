/* Describes its parameters as plain text instead of JSON. */
#include "base.h"

static int32_t describe(void *source, const struct framegate_sink *out, struct framegate_error *error) {
    (void)source, (void)error;
    out->take(out->context, framegate_string("gain, of course"));
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE_WITH(0, base_create, base_destroy, base_open, base_close, .next = base_next, .parameters = describe,
             .set_parameter = base_refuse_parameter);
