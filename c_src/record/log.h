/* log: the event log: every allocation and free of the process goes into a file (log_format.h),
 * instead of into the tables. It is asked for with MTRACE_LOG (options.h).
 *
 *   hook ─▶ tracer ─▶ stack ─▶ its number (log_stacks) ─▶ a word or two in the thread's buffer
 *                                     │new                        │full, or a second old
 *                                     ▼                           ▼
 *                               a definition ─────────▶ one block, appended (log_file)
 *
 * Logged is the malloc family; the VM's own (enif_alloc and what belongs to it, driver_alloc)
 * too where those are hooked, their frees without a stack. What the VM does with a binary that
 * it was given shows as a free. Erlang's side of a stack and who called a NIF are not logged.
 * free(NULL) is not logged.
 *
 * An event is lost, and counted, where a thread has no block (thread.h), in a signal handler
 * that came in between, with a block that cannot be written, and in a buffer when a new
 * generation begins. Lost and not counted is what lies in the buffers when the program ends
 * otherwise than by exit or main's return: by a signal (kill -9, abort), _exit, quick_exit, or
 * exec, which replaces the program (and, where it keeps MTRACE_LOG without %p, the file). That
 * is a thread's last second or 48 KiB if it allocates all the time, and all since its last
 * write if it sleeps. The log then has no end, which its reader says; the stacks of what was
 * written before are in it.
 *
 * Each thread that allocates has a buffer of 74 KiB and 40 KiB of recent walks (recent.h). The
 * child of a fork logs nothing. What is written when: a thread's events, when 48 KiB of them
 * are there, when something is added that is a second younger than the first, when it ends;
 * everybody's when the program ends. That write waits for the disk (log_file.h).
 */
#ifndef MT_RECORD_LOG_H
#define MT_RECORD_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "log_buffer.h"
#include "options.h"
#include "thread.h"
#include "walk.h"

/* Opens the file and starts. 0, or -1 and errno: EINVAL, its name is none. From the constructor
 * or an attach, before the tracer is switched on. `depth` frames are kept of a stack. */
int mt_log_begin(const mt_log_options *options, uint32_t depth);

/* Writes what is there, of all threads, and an end; nothing is logged after that. At exit; in
 * the child of a fork it does nothing. Waits for a thread that is writing, 0.1 s at most. */
void mt_log_end(mt_log_ending why);

/* After a dlclose. */
void mt_log_unloaded(void);

static inline bool mt_log_on(void) {
    return __builtin_expect(atomic_load_explicit(&mt_log_state.on, memory_order_relaxed), 0);
}

/* For hooks, where the log is on; the thread's guard is up where something was drawn. */

/* An event that cannot be logged. */
void mt_log_drop(void);

/* A chunk will be allocated by this. */
void mt_log_draws(mt_thread *block, mt_count which);

/* Nothing is being recorded: what is allocated now will be. */
static inline bool mt_log_is_free(void) {
    return !mt_tls_mine.quiet && !mt_tls_mine.guard_sp && !mt_tls_mine.callback_sp;
}

/* The short way to the same, where there is a log: counts the call and raises the guard. False:
 * nothing is done, go the long way. */
static inline bool mt_log_draws_now(mt_count which) {
    mt_thread *block = mt_tls_mine.block;
    if (!mt_log_on() || !block || !mt_log_is_free()) return false;
    mt_thread_bump(block, which);
    if (block->log) block->log->realloc = 0;
    mt_tls_mine.guard_sp = (uintptr_t)__builtin_frame_address(0);
    return true;
}

/* It has been, or, where it is NULL, has not. Registers one by one: see walk.h. */
void mt_log_allocated_from(mt_thread *block, void *chunk, size_t size, void *hook, uintptr_t pc,
                           uintptr_t sp, uintptr_t fp);

/* The same after a short way, whose end it is: lowers the guard. */
static inline void mt_log_allocated(void *chunk, size_t size, void *hook, mt_walk_from from) {
    mt_log_allocated_from(mt_tls_mine.block, chunk, size, hook, from.pc, from.sp, from.fp);
    mt_tls_mine.guard_sp = 0;
}

/* It is about to be freed. Without a hook no stack is kept. */
void mt_log_freed_from(void *chunk, void *hook, uintptr_t pc, uintptr_t sp, uintptr_t fp);
static inline void mt_log_freed(void *chunk, void *hook, mt_walk_from from) {
    mt_log_freed_from(chunk, hook, from.pc, from.sp, from.fp);
}

/* It is about to be reallocated, or NULL is. `drawn`: what comes of it will be logged. */
void mt_log_reallocates(void *chunk, bool drawn);

/* The short way to that and to mt_log_draws, as above. */
static inline bool mt_log_draws_realloc(mt_count which, void *chunk) {
    if (!mt_log_draws_now(which)) return false;
    mt_log_reallocates(chunk, true);
    return true;
}

#endif
