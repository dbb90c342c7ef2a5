/* log_frames: stacks as text. What is asked for the first time is named then (names.h). */
#ifndef MT_CTL_LOG_FRAMES_H
#define MT_CTL_LOG_FRAMES_H

#include "log.h"

/* A frame a line, as mtracectl's reports have them (report.h), and an empty line; at most
 * `depth` return addresses, 0: all. `at`: ticks. */
void mt_logged_frames_text(mt_logged *log, uint32_t stack, uint64_t at, uint32_t depth);

/* A JSON array of objects with f, s, l (function, source file, line), or with all that is
 * known: address, function, offset, object, in_file, file, line, inlined. */
void mt_logged_frames_json(const mt_logged *log, mt_out *to, uint32_t stack, uint64_t at,
                           uint32_t depth, bool full);

/* One frame of these, with f, s, l; of any address that was named. */
void mt_logged_frame_short(mt_out *to, uint64_t address, const mt_names_place *place,
                           const mt_names_frame *frame);

/* library::symbol of the callers, innermost first, ` < ` between; the hook itself is left out.
 * In names only, nothing that changes from run to run, if `comparable`. */
void mt_logged_frames_callers(const mt_logged *log, mt_out *to, uint32_t stack, uint64_t at,
                              uint32_t depth, bool comparable);

/* What was called: malloc, calloc, …; by the op where the hook has no name. A constant. */
const char *mt_logged_frames_called(const mt_logged *log, uint32_t stack, uint64_t at,
                                    mt_log_op op);

#endif
