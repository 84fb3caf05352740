/* Receives UDP datagrams, and counts them in the source, not in the run. */
static int seen;
#define STAMP(bytes) (bytes)[0] = (unsigned char)++seen
#include "../../plugins/datagrams.c"
