/* attached: what mtracectl calls, by a debugger, in a process that was started without us and
 * has just loaded us: tracing on and off from outside. The tables are shared as those of a
 * process that mtracectl started, but their descriptor is kept here, high and close-on-exec,
 * so that they can be found.
 *
 * One caller at a time, on a thread that is in no allocator and no loader.
 */
#ifndef MT_HOOK_ATTACHED_H
#define MT_HOOK_ATTACHED_H

typedef enum mt_attached_result {
    /* mt_attach_result (attach.h), and */
    MT_ATTACHED_NOT_SHARED = 20, /* no memfd, memory or descriptor */
    MT_ATTACHED_ANOTHER = 21     /* of another version */
} mt_attached_result;

enum { MT_ATTACHED_VERSION = 1 };

/* Traces from now on. `options`: lines NAME=value of options.h's variables; copied. The
 * environment's do not count. Exported. */
int mtrace_attach(int version, const char *options);

/* Puts everything back; the tables stay as they are then. Exported. */
int mtrace_detach(int version);

#endif
