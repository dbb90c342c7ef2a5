/* loader: two functions of the dynamic linker that we stand in front of. Nothing to call here:
 * they are exported under their own names, and pass through to the next of that name.
 *
 *   dl_iterate_phdr   nothing is recorded in a callback where stacks come from libunwind
 *   dlclose           rules of objects that may be gone are looked up anew; whoever keeps a
 * list of what is loaded is told before and after
 */
#ifndef MT_HOOK_LOADER_H
#define MT_HOOK_LOADER_H

/* Set once, before threads; called in a traced process by whoever calls dlclose, before and
 * after. It may hold no lock that it waits for: the caller may be in the loader. */
extern void (*mt_loader_unloading)(void);

#endif
