/* no_vm: vm without a BEAM: of an object that is built without Erlang's headers. */
#include "vm.h"

int mt_vm_start(bool scheduling_now) {
    (void)scheduling_now;
    return -1;
}

void mt_vm_stop(void) {}
