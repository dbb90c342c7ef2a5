/* program: what is to be run: where it is, and whether our object can be preloaded into it.
 *
 * Found as execvp(3) does. Refused is what would run without us, or not at all: what is not
 * there, a folder, not executable; setuid, setgid or with file capabilities (ld.so(8) ignores
 * LD_PRELOAD then), unless that changes nothing for this user; statically linked; for another
 * class or machine than ours; with musl's loader, which takes no object of glibc's. For a
 * script the interpreter counts (execve(2)).
 *
 * One thread. Files are read, and may be anything.
 */
#ifndef MT_CTL_PROGRAM_H
#define MT_CTL_PROGRAM_H

#include <stdbool.h>

/* The path of the program, the caller's own; NULL after one sentence on stderr. */
char *mt_program_find(const char *name);

/* Can we be preloaded into it, and can it be executed? False after one sentence on stderr. */
bool mt_program_check(const char *path);

/* Whether this file, that of a running process, can have our object loaded into it: what check
 * says of ELF files, without what only matters when it is started. `name` for the sentence. */
bool mt_program_suits(const char *path, const char *name);

/* The path of mtrace.so, beside mtracectl's own file; the caller's own. NULL after one sentence
 * on stderr: it is not there, or LD_PRELOAD cannot name it. */
char *mt_program_object(void);

#endif
