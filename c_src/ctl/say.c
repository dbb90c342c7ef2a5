/* say: what goes wrong, in one sentence on stderr. It may quote paths and arguments, which are
 * any bytes: what a terminal could act upon is shown as '?'. */
#include <stdarg.h>
#include <stdio.h>

#include "commands.h"

enum { SENTENCE = 4096 };

void mt_say(const char *format, ...) {
    char text[SENTENCE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    fprintf(stderr, "mtracectl: %s\n", text);
}
