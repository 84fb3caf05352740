/* Starts a process in create that never ends and inherits all descriptors. With FRAMEGATE_TEST_SESSION, the process has a session
 * of its own. Its id is written to FRAMEGATE_TEST_FILE. */
#include "base.h"
#include "leaves_a_child.h"

static int32_t create(const struct framegate_host *host, struct framegate_text stream, struct framegate_text settings,
                      void **source, struct framegate_error *error) {
    leave_a_child();
    return base_create(host, stream, settings, source, error);
}

FIXTURE(create, base_destroy, base_open, base_next, base_close);
