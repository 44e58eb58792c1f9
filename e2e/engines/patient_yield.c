/* Preloaded into the engine: waits by sleeping 20 us instead of spinning.

   vLLM's scheduler waits for its worker in a loop of sched_yield(), which is right where it has a
   core of its own. On two cores it shares one with the HTTP server and with whoever measures, and
   its spinning keeps them from running for up to a second. Nothing else of the engine is changed.

   NB: sched_yield() never fails, so a signal that ends the sleep must not look like a failure: the
   engine would die of it, and a SIGTERM that comes in the midst of a wait asks it to drain. */
#define _GNU_SOURCE
#include <time.h>

int sched_yield(void) {
    const struct timespec pause = {0, 20000};
    nanosleep(&pause, 0);
    return 0;
}
