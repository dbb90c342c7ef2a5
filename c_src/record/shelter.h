/* shelter: what a hook does while it writes to a file of ours must neither be interrupted by
 * the program nor end it.
 *
 * Meanwhile all signals wait, so that no handler comes in between; those that a write of ours
 * causes (SIGXFSZ beyond RLIMIT_FSIZE, SIGPIPE) are taken away, unless one was waiting before;
 * the thread cannot be cancelled; errno is as it was. Some 400 ns.
 */
#ifndef MT_RECORD_SHELTER_H
#define MT_RECORD_SHELTER_H

#include <signal.h>

typedef struct mt_shelter {
    sigset_t before, pending;
    int cancel, error;
} mt_shelter;

void mt_shelter_enter(mt_shelter *shelter);
void mt_shelter_leave(mt_shelter *shelter);

#endif
