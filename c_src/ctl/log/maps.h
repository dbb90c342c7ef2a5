/* log_maps: a saved /proc/PID/maps, for a log whose own list of files was lost. */
#ifndef MT_CTL_LOG_MAPS_H
#define MT_CTL_LOG_MAPS_H

#include "ctl/show/names.h"

/* Tells names of the executable mappings in the file. Where a file was put is known from its
 * program headers; `folders` (names.h) are looked into for it first. 0, or -1 after a sentence
 * on stderr: it cannot be read, or is no such list. */
int mt_logged_maps_read(mt_names *names, const char *path, const char *folders);

#endif
