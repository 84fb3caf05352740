/* Has no function that opens a run. */
#include "base.h"

FIXTURE(base_create, base_destroy, NULL, base_next, base_close);
