/* A stand-in for NVIDIA's libnvidia-ml.so.1, loaded by nvidia-ml-py as if it were the real one.

   Every answer is read from the environment at the moment of the call, so a program that has it
   loaded changes the hardware by setting variables. Signatures and structures are NVML's. With
   STUB_TRACE the GPUs draw power in real time (see stub_power.h); GPU n draws n + 1 times as much.

     STUB_INIT        error code of nvmlInit                     STUB_GPUS     number of GPUs
     STUB_<CALL>      error code of one call: HANDLE, ENERGY, INSTANT, AVERAGE, FIELDS, POWER,
                      MIGMODE, ARCHITECTURE, STATE; of the GPU STUB_FAULT_GPU only, where given, and
                      not before STUB_FAULT_AT, in seconds of CLOCK_MONOTONIC
     STUB_LOST        GPU that is lost                           STUB_LOST_AT  from which moment on
     STUB_MIG         GPU on which MIG is on                     STUB_ARCH, STUB_NAME, STUB_CELSIUS

   Without STUB_TRACE the sensors say
     STUB_POWER_MW    power; the average field 3 W more and the instant field 7 W more
     STUB_ENERGY_MJ   the counter; else that power since time 0, in ticks of 100 ms
     STUB_TIME_MS     the stub's clock
   and with it
     STUB_UPDATE_MS   how often power is new                     STUB_TICK_MS  how often the counter
     STUB_AVERAGE_MS  mean of nvmlDeviceGetPowerUsage and of the average field
     STUB_INSTANT_MS  mean of the instant field                                                     */

#include <stdio.h>

#include "stub_power.h"

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    INSUFFICIENT_SIZE = 7,
    GPU_IS_LOST = 15
};
enum { POWER_AVERAGE = 185, POWER_INSTANT = 186, UNSIGNED_INT = 1, MOST_GPUS = 8, HOPPER = 9 };

/* Energy before the trace: the counter is of the driver, and older than any trace. */
static const long long COUNTED_BEFORE_MJ = 1000000000;

typedef struct { int index; } device;
typedef union { double d; unsigned ui; unsigned long long ull; } value;
typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    int type, result;
    value value;
} field_value;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned version; int sensor, celsius; } temperature;

static device devices[MOST_GPUS];
static int opened;

/* Whether a moment of CLOCK_MONOTONIC has come; one that is not given always has. */
static int has_come(const char *name) {
    const char *text = getenv(name);
    return !text || !*text || (double)monotonic_ns() / 1e9 >= atof(text);
}

/* The error of a call on a device, if any. */
static int check(const device *gpu, const char *call) {
    if (!opened) return UNINITIALIZED;
    if (gpu->index == number("STUB_LOST", -1) && has_come("STUB_LOST_AT")) return GPU_IS_LOST;
    if (gpu->index != number("STUB_FAULT_GPU", gpu->index)) return SUCCESS;
    return has_come("STUB_FAULT_AT") ? (int)number(call, SUCCESS) : SUCCESS;
}

/* Without a trace a little more than STUB_POWER_MW, to tell which field was read. */
static unsigned power_mw(const device *gpu, const char *window, long long ms, unsigned more_mw) {
    unsigned times = (unsigned)gpu->index + 1;
    if (*trace_name()) return (unsigned)llround(trace_power_mw(number(window, ms)) * times);
    unsigned given_mw = (unsigned)number("STUB_POWER_MW", 200000) * times;
    return given_mw ? given_mw + more_mw : 0;
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
    if (index >= MOST_GPUS || index >= (unsigned)number("STUB_GPUS", 1)) return INVALID_ARGUMENT;
    devices[index].index = (int)index;
    *gpu = &devices[index];
    return check(*gpu, "STUB_HANDLE");
}

int nvmlDeviceGetName(device *gpu, char *text, unsigned length) {
    const char *name = getenv("STUB_NAME");
    if (name && *name) snprintf(text, length, "%s", name);
    else snprintf(text, length, "Stub H%d00", gpu->index + 1);
    return check(gpu, "");
}

int nvmlDeviceGetUUID(device *gpu, char *text, unsigned length) {
    snprintf(text, length, "GPU-ABCD%04d-0000-1111-2222-333344445555", gpu->index);
    return check(gpu, "");
}

int nvmlDeviceGetArchitecture(device *gpu, unsigned *architecture) {
    *architecture = (unsigned)number("STUB_ARCH", HOPPER);
    return check(gpu, "STUB_ARCHITECTURE");
}

int nvmlDeviceGetMigMode(device *gpu, unsigned *current, unsigned *pending) {
    *current = *pending = gpu->index == number("STUB_MIG", -1);
    return check(gpu, "STUB_MIGMODE");
}

int nvmlDeviceGetTotalEnergyConsumption(device *gpu, unsigned long long *energy_mj) {
    long long counted_mj;
    if (*trace_name()) {
        double traced_mj = trace_energy_mj(last_update_s(number("STUB_TICK_MS", 100)));
        counted_mj = COUNTED_BEFORE_MJ + llround(traced_mj * (gpu->index + 1));
    } else {
        counted_mj = number("STUB_TIME_MS", 0) / 100 * power_mw(gpu, "", 0, 0) / 10;
    }
    *energy_mj = (unsigned long long)number("STUB_ENERGY_MJ", counted_mj);
    return check(gpu, "STUB_ENERGY");
}

int nvmlDeviceGetFieldValues(device *gpu, int count, field_value *values) {
    for (int i = 0; i < count; i++) {
        memset(&values[i].value, 0, sizeof values[i].value);
        values[i].type = UNSIGNED_INT;
        if (values[i].scope != 0) {
            values[i].result = NOT_SUPPORTED;
        } else if (values[i].field == POWER_INSTANT) {
            values[i].result = check(gpu, "STUB_INSTANT");
            values[i].value.ui = power_mw(gpu, "STUB_INSTANT_MS", 25, 7000);
        } else if (values[i].field == POWER_AVERAGE) {
            values[i].result = check(gpu, "STUB_AVERAGE");
            values[i].value.ui = power_mw(gpu, "STUB_AVERAGE_MS", 1000, 3000);
        } else {
            values[i].result = INVALID_ARGUMENT;
        }
    }
    return check(gpu, "STUB_FIELDS");
}

int nvmlDeviceGetPowerUsage(device *gpu, unsigned *milliwatts) {
    *milliwatts = power_mw(gpu, "STUB_AVERAGE_MS", 1000, 0);
    return check(gpu, "STUB_POWER");
}

int nvmlDeviceGetUtilizationRates(device *gpu, rates *utilisation) {
    utilisation->gpu = 55;
    utilisation->memory = 10;
    return check(gpu, "STUB_STATE");
}

int nvmlDeviceGetTemperature(device *gpu, int sensor, unsigned *celsius) {
    *celsius = sensor == 0 ? (unsigned)number("STUB_CELSIUS", 61) : 0;
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

/* What follows only other tools ask for, Zeus and CodeCarbon, so that they can read this GPU. */

int nvmlDeviceGetTemperatureV(device *gpu, temperature *answer) {
    answer->celsius = (int)number("STUB_CELSIUS", 61);
    return check(gpu, "STUB_STATE");
}

int nvmlDeviceGetMemoryInfo(device *gpu, memory *bytes) {
    *bytes = (memory){80000000000, 79000000000, 1000000000};
    return check(gpu, "");
}

int nvmlDeviceGetComputeMode(device *gpu, unsigned *mode) {
    *mode = 0;
    return check(gpu, "");
}

int nvmlDeviceGetPersistenceMode(device *gpu, unsigned *mode) {
    *mode = 1;
    return check(gpu, "");
}

int nvmlDeviceGetC2cModeInfoV(device *gpu, void *answer) {
    int error = check(gpu, "");
    (void)answer;
    return error ? error : NOT_SUPPORTED;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device *gpu, unsigned *count, void *processes) {
    (void)processes;
    *count = 0;
    return check(gpu, "");
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(device *gpu, unsigned *count, void *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(gpu, count, processes);
}

int nvmlDeviceGetPowerManagementLimit(device *gpu, unsigned *milliwatts) {
    return nvmlDeviceGetEnforcedPowerLimit(gpu, milliwatts);
}

int nvmlDeviceGetPowerManagementDefaultLimit(device *gpu, unsigned *milliwatts) {
    return nvmlDeviceGetEnforcedPowerLimit(gpu, milliwatts);
}

int nvmlDeviceGetPowerManagementLimitConstraints(device *gpu, unsigned *low, unsigned *high) {
    *low = 200000;
    return nvmlDeviceGetEnforcedPowerLimit(gpu, high);
}

int nvmlDeviceSetPowerManagementLimit(device *gpu, unsigned milliwatts) {
    int error = check(gpu, "");
    (void)milliwatts;
    return error ? error : NO_PERMISSION;
}

static int one_clock(const device *gpu, unsigned *count, unsigned *clocks, unsigned megahertz) {
    int error = check(gpu, "");
    if (error || *count < 1 || !clocks) {
        *count = 1;
        return error ? error : INSUFFICIENT_SIZE;
    }
    *count = 1;
    *clocks = megahertz;
    return SUCCESS;
}

int nvmlDeviceGetSupportedMemoryClocks(device *gpu, unsigned *count, unsigned *clocks) {
    return one_clock(gpu, count, clocks, 2619);
}

int nvmlDeviceGetSupportedGraphicsClocks(
    device *gpu, unsigned memory_mhz, unsigned *count, unsigned *clocks) {
    (void)memory_mhz;
    return one_clock(gpu, count, clocks, 1980);
}
