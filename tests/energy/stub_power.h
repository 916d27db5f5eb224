/* What the simulated GPU of stub_nvml.c draws: one function, the energy since the trace began, of
   which every sensor is a difference. synthetic_power.py is its twin in Python.

     STUB_TRACE       constant (high), ramp (a sawtooth that rises from low to high), plateau (rises
                      for a quarter of the period, stays for a half, falls for a quarter), square
                      (high, then low) or noise (a sum of steps from period / 8 to period); low
                      before the start
     STUB_LOW_MW, STUB_HIGH_MW, STUB_PERIOD_MS, STUB_SEED
     STUB_START_NS    start on CLOCK_MONOTONIC
     STUB_TIME_MS     time since the start, instead of that of the clock                          */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OCTAVES = 4 };

static long long number(const char *name, long long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoll(text) : otherwise;
}

static const char *trace_name(void) {
    const char *name = getenv("STUB_TRACE");
    return name ? name : "";
}

static long long monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* When a sensor that takes a value every so many milliseconds has taken its last, in seconds since
   the trace began. */
static double last_update_s(long long every_ms) {
    long long every_ns = every_ms * 1000000, now_ns = number("STUB_TIME_MS", -1) * 1000000;
    if (now_ns < 0) now_ns = monotonic_ns() - number("STUB_START_NS", 0);
    long long since_ns = (now_ns % every_ns + every_ns) % every_ns;
    return (double)(now_ns - since_ns) / 1e9;
}

/* From 0 to 1, the same for the same arguments (splitmix64). */
static double hashed(uint64_t seed, uint64_t octave, uint64_t pair) {
    uint64_t z = seed * 0x9e3779b97f4a7c15u + octave * 0xd1b54a32d192ed03u + pair;
    z = (z + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* Steps of u, 1 - u, v, 1 - v ...: each pair has the integral of one step, so nothing is summed. */
static double noise_s(double t, double period) {
    double sum = 0;
    for (int octave = 0; octave < OCTAVES; octave++) {
        double step = period / (1 << octave);
        double pair = floor(t / (2 * step)), inside = t - pair * 2 * step;
        double u = hashed((uint64_t)number("STUB_SEED", 0), (uint64_t)octave, (uint64_t)pair);
        sum += pair * step + fmin(inside, step) * u + fmax(inside - step, 0) * (1 - u);
    }
    return sum / OCTAVES;
}

/* The integral of the trace from 0 to t, where low counts as 0 and high as 1. */
static double shape_s(double t) {
    const char *name = trace_name();
    double period = (double)number("STUB_PERIOD_MS", 1000) / 1e3;
    double n = floor(t / period), r = t / period - n;
    if (t < 0) return 0;
    if (!strcmp(name, "noise")) return noise_s(t, period);
    if (!strcmp(name, "ramp")) return period * (n / 2 + r * r / 2);
    if (!strcmp(name, "square")) return period * (n / 2 + fmin(r, 0.5));
    if (!strcmp(name, "plateau")) {
        double rest = 1 - r;
        double part = r < 0.25 ? 2 * r * r : r < 0.75 ? r - 0.125 : 0.75 - 2 * rest * rest;
        return period * (n * 0.75 + part);
    }
    return t;
}

static double trace_energy_mj(double t) {
    double low = (double)number("STUB_LOW_MW", 60000);
    return low * t + ((double)number("STUB_HIGH_MW", 300000) - low) * shape_s(t);
}

/* Mean power over the milliseconds before the last update of the power sensor. */
static double trace_power_mw(long long window_ms) {
    double end = last_update_s(number("STUB_UPDATE_MS", 100)), window = (double)window_ms / 1e3;
    return (trace_energy_mj(end) - trace_energy_mj(end - window)) / window;
}
