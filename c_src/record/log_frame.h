/* log_frame: the blocks of no thread: the one that a generation begins with, those that tell of
 * files that were mapped and unmapped, and the one that ends the log. They are written at once:
 * without them no name could be found after a kill -9.
 */
#ifndef MT_RECORD_LOG_FRAME_H
#define MT_RECORD_LOG_FRAME_H

#include <stdint.h>

#include "options.h"

/* Opens the file with its first block. 0, or -1 and errno. From the constructor. */
int mt_log_begin_file(const char *path, const mt_log_options *options, uint32_t depth);

/* Tells of what was mapped or unmapped (seen.h) since this was last asked; in a new generation,
 * of all that is there. For hooks: who finds another thread at it leaves it to that. Some ns
 * where nothing is new. */
void mt_log_tell(void);

#endif
