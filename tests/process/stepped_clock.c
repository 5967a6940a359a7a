/* A wall clock that steps, by LD_PRELOAD: it is ahead by the seconds in the file named by STEPPED_CLOCK. The
 * monotonic clock does not step. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    const char *path = getenv("STEPPED_CLOCK");
    char text[32] = "";
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result != 0 || path == NULL) return (int)result;
    if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atoll(text);
    close(file);
    return 0;
}
