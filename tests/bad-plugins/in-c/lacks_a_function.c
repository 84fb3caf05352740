/* Has no next function. */
#include "base.h"

FIXTURE(base_create, base_destroy, base_open, NULL, base_close);
