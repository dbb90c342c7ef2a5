/* See recent_library.c. */
#define FRAME 0x10000
#include "recent_library.c"
