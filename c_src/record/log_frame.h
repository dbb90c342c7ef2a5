/* log_frame: the blocks between which a log's events stand: the one that a generation begins
 * with, the one that ends the log.
 */
#ifndef MT_RECORD_LOG_FRAME_H
#define MT_RECORD_LOG_FRAME_H

#include <stdint.h>

#include "options.h"

/* Opens the file with its first block. 0, or -1 and errno. From the constructor. */
int mt_log_begin_file(const char *path, const mt_log_options *options, uint32_t depth);

#endif
