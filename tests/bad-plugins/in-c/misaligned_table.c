/* Its symbol is one byte after the start of its table. */
#include "base.h"

extern const struct framegate_plugin framegate_table_bad __asm__("moved_table");
FIXTURE(base_create, base_destroy, base_open, base_next, base_close);
__asm__(".globl framegate_table_bad\n.set framegate_table_bad, moved_table + 1");
