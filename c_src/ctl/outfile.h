/* outfile: where reports are written: a stream, one file, or one for each process. */
#ifndef MT_CTL_OUTFILE_H
#define MT_CTL_OUTFILE_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

typedef struct mt_outfile {
    const char *pattern; /* NULL: none */
    FILE *none;          /* where it goes then */
    FILE *one;           /* the same for all processes */
    bool failed;         /* some report is not whole in its file, which has been said */
} mt_outfile;

/* The text with %p as the process's number, %c as its name (without slashes and control
 * characters) and %% as %. The caller's own; NULL without memory. */
char *mt_outfile_expand(const char *pattern, pid_t pid, const char *name);

/* Opens and empties it or, where its name is not known yet, sees that its folder is there and
 * can be written to. `none`: stdout or stderr. 0, or -1 after one sentence on stderr. */
int mt_outfile_prepare(mt_outfile *outfile, const char *pattern, FILE *none);

/* Whether files of this name can be made, or written to if they are there; NULL: none is
 * wanted. False after one sentence on stderr. */
bool mt_outfile_may(const char *pattern);

/* Appends a report of this process, whole. 0, or -1 after one sentence on stderr. */
int mt_outfile_write(mt_outfile *outfile, pid_t pid, const char *name, const char *text,
                     size_t n);

/* -1, and a sentence, if not everything could be written. */
int mt_outfile_close(mt_outfile *outfile);

#endif
