/* ask: `mtracectl report PID`: what a traced process holds now, from its tables, without its
 * help: it may sleep or be stopped. */
#include <stdio.h>
#include <unistd.h>

#include "ctl/arguments.h"
#include "ctl/commands.h"
#include "deliver.h"
#include "find.h"

static void usage(void) {
    puts("usage: mtracectl report [OPTIONS] PID\n\n"
         "Reports what a traced process holds now: one that mtracectl run started, or\n"
         "that was attached to. It is neither stopped nor asked.\n\n"
         "  --outfile FILE     reports go there (%p: process, %c: its name), not to stdout");
    fputs(mt_show_help, stdout);
}

static int report(const mt_arguments *a, pid_t pid) {
    mt_outfile outfile;
    mt_target target;
    int status = MT_EXIT_FAILED;
    if (mt_show_check(&a->show) != 0) return status;
    int fd = mt_find_tables_or_say(pid);
    if (fd < 0) return status;
    if (mt_target_open(&target, fd, pid)) {
        if (mt_outfile_prepare(&outfile, a->outfile, stdout) == 0)
            status = mt_deliver_once(&target, &a->show, &outfile);
        mt_target_close(&target);
    }
    close(fd);
    return status;
}

int mt_command_report(int argc, char **argv) {
    return mt_arguments_act(MT_ARGUMENTS_OUTFILE, usage, report, argc, argv);
}
