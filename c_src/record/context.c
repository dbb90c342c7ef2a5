/* context: the one pointer. */
#include "context.h"

mt_context_reader *_Atomic mt_context_read;
