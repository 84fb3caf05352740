/* Gives a datagram at the first of four calls of next that comes after it, as a source may whose own thread gets no processor. */
#define LATE 3
#include "datagrams.c"
