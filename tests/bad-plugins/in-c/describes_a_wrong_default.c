/* Describes two parameters: the default of one is not of its type. */
#include "base.h"

static int32_t describe(void *source, const struct framegate_sink *out, struct framegate_error *error) {
    (void)source, (void)error;
    const char *parameters = "["
        "{\"name\": \"rate\", \"description\": \"R\", \"dtype\": \"float\", \"default\": 2},"
        "{\"name\": \"gain\", \"description\": \"G\", \"dtype\": \"int\", \"default\": \"five\"}]";
    out->take(out->context, framegate_string(parameters));
    return FRAMEGATE_OUTCOME_DONE;
}

FIXTURE_WITH(0, base_create, base_destroy, base_open, base_close, .next = base_next, .parameters = describe,
             .set_parameter = base_refuse_parameter);
