/* child: the program that we run: has it ended, and is it the one that was started?
 *
 * It may execute another program in its place, of whose memory nobody knows. The kernel tells
 * nobody; the short name is another one then, but a program may also call itself something else
 * (PR_SET_NAME of prctl(2)). What a new name alone does not change:
 *
 *   our memory is mapped         while it lives, looked at where the name has changed
 *   our signals have handlers    also when it has ended: to execute takes all handlers away
 *
 * Where it was not seen and had no handlers, nobody can tell, and that is said.
 *
 * One thread.
 */
#ifndef MT_CTL_CHILD_H
#define MT_CTL_CHILD_H

#include "target.h"

typedef struct mt_child {
    pid_t pid;
    bool ended;
    int status;        /* of waitpid */
    char name[64];     /* what the kernel called it at its end */
    uint64_t caught;   /* the signals that it had handlers for then (bit n - 1: signal n) */
    uint64_t expected; /* those that mtrace.so was to handle in it */
    uint64_t start_ns; /* of the target that the rest is about */
    char seen[64];     /* what it called itself while our memory was there */
    bool replaced;     /* it was seen without */
    int pause_ms;      /* until it is looked at again */
    uint64_t due_ns;
} mt_child;

typedef enum mt_child_is {
    MT_CHILD_SAME,
    MT_CHILD_MAYBE, /* perhaps another program was executed in its place */
    MT_CHILD_OTHER
} mt_child_is;

/* `signals`: MT_SIGNALS_* of the options, by which mtrace.so takes handlers. */
void mt_child_begin(mt_child *child, pid_t pid, uint64_t signals);

/* How many milliseconds until it should be looked at; -1: not any more. */
int mt_child_due_ms(const mt_child *child);

/* Looks at it, if it is due: with a new name it takes some ms where there are thousands of
 * mappings, else some us. */
void mt_child_look(mt_child *child, const mt_target *target);

/* Whether it has ended; then it has been waited for. */
void mt_child_see_end(mt_child *child);

/* Of one that has ended: is what it was then this target? */
mt_child_is mt_child_is_still(const mt_child *child, const mt_target *target);

/* How a target ended that did not wait for us, the child or another, in one sentence. */
void mt_child_tell(const mt_child *child, const mt_target *target, mt_child_is is, char *text,
                   size_t room);

#endif
