/* A stand-in for NVIDIA's libnvidia-ml.so.1, loaded by nvidia-ml-py as if it were the real one.

   Every answer is read from the environment at the moment of the call, so a program that has it
   loaded changes the hardware by setting variables. Signatures and structures are NVML's.

     STUB_INIT        error code of nvmlInit                     STUB_GPUS     number of GPUs
     STUB_TIME_MS     the stub's clock                           STUB_POWER_MW power
     STUB_ENERGY_MJ   the counter; else power since time 0, in ticks of 100 ms
     STUB_<CALL>      error code of one call: HANDLE, ENERGY, INSTANT, FIELDS, POWER, MIGMODE, STATE
     STUB_MIG         GPU on which MIG is on                     STUB_LOST     GPU that is lost      */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_FOUND = 6, GPU_IS_LOST = 15, UNINITIALIZED = 1 };
enum { POWER_INSTANT = 186, UNSIGNED_INT = 1, MOST_GPUS = 8 };

typedef struct { int index; } device;
typedef union { double d; unsigned ui; unsigned long long ull; } value;
typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    int type, result;
    value value;
} field_value;
typedef struct { unsigned gpu, memory; } rates;

static device devices[MOST_GPUS];
static int opened;

static long long number(const char *name, long long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atoll(text) : otherwise;
}

/* The error of a call on a device, if any. */
static int check(const device *gpu, const char *call) {
    if (!opened) return UNINITIALIZED;
    if (gpu->index == number("STUB_LOST", -1)) return GPU_IS_LOST;
    return (int)number(call, SUCCESS);
}

static unsigned power_mw(const device *gpu) {
    return (unsigned)number("STUB_POWER_MW", 200000) * (unsigned)(gpu->index + 1);
}

int stub_opened(void) { return opened; }

int nvmlInitWithFlags(unsigned flags) {
    int error = (int)number("STUB_INIT", SUCCESS);
    (void)flags;
    if (!error) opened++;
    return error;
}

int nvmlShutdown(void) {
    if (!opened) return UNINITIALIZED;
    opened--;
    return SUCCESS;
}

const char *nvmlErrorString(int error) { return error ? "Stub Error" : "Success"; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "570.86.15");
    return SUCCESS;
}

int nvmlSystemGetNVMLVersion(char *text, unsigned length) {
    snprintf(text, length, "12.570.86.15");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("STUB_GPUS", 1);
    return opened ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, device **gpu) {
    if (index >= (unsigned)number("STUB_GPUS", 1)) return NOT_FOUND;
    devices[index].index = (int)index;
    *gpu = &devices[index];
    return check(*gpu, "STUB_HANDLE");
}

int nvmlDeviceGetName(device *gpu, char *text, unsigned length) {
    snprintf(text, length, "Stub H%d00", gpu->index + 1);
    return check(gpu, "");
}

int nvmlDeviceGetUUID(device *gpu, char *text, unsigned length) {
    snprintf(text, length, "GPU-ABCD%04d-0000-1111-2222-333344445555", gpu->index);
    return check(gpu, "");
}

int nvmlDeviceGetMigMode(device *gpu, unsigned *current, unsigned *pending) {
    *current = *pending = gpu->index == number("STUB_MIG", -1);
    return check(gpu, "STUB_MIGMODE");
}

int nvmlDeviceGetTotalEnergyConsumption(device *gpu, unsigned long long *energy_mj) {
    long long ticks = number("STUB_TIME_MS", 0) / 100;
    long long counted_mj = ticks * power_mw(gpu) / 10;
    *energy_mj = (unsigned long long)number("STUB_ENERGY_MJ", counted_mj);
    return check(gpu, "STUB_ENERGY");
}

int nvmlDeviceGetFieldValues(device *gpu, int count, field_value *values) {
    for (int i = 0; i < count; i++) {
        values[i].type = UNSIGNED_INT;
        values[i].result = values[i].field == POWER_INSTANT ? check(gpu, "STUB_INSTANT") : 2;
        memset(&values[i].value, 0, sizeof values[i].value);
        /* A little more than the ordinary power, to tell which one was read. */
        values[i].value.ui = power_mw(gpu) ? power_mw(gpu) + 7000 : 0;
    }
    return check(gpu, "STUB_FIELDS");
}

int nvmlDeviceGetPowerUsage(device *gpu, unsigned *milliwatts) {
    *milliwatts = power_mw(gpu);
    return check(gpu, "STUB_POWER");
}

int nvmlDeviceGetUtilizationRates(device *gpu, rates *utilisation) {
    utilisation->gpu = 55;
    utilisation->memory = 10;
    return check(gpu, "STUB_STATE");
}

int nvmlDeviceGetTemperature(device *gpu, int sensor, unsigned *celsius) {
    *celsius = sensor == 0 ? 61 : 0;
    return check(gpu, "STUB_STATE");
}

int nvmlDeviceGetClockInfo(device *gpu, int clock, unsigned *megahertz) {
    *megahertz = clock == 1 ? 1980 : 0;
    return check(gpu, "STUB_STATE");
}

int nvmlDeviceGetEnforcedPowerLimit(device *gpu, unsigned *milliwatts) {
    *milliwatts = 700000;
    return check(gpu, "STUB_STATE");
}
