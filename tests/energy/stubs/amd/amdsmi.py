"""A stand-in for AMD's amdsmi with the calls that Zeus makes; what it says is in the environment.

AMD_GPUS         number of GPUs; their handles are in the order of the bus, which is not HIP's
AMD_NAME         market name
AMD_INIT         error code of amdsmi_init
AMD_WATTS        power of each, separated by commas; empty for "N/A"
AMD_AVERAGE      the field of average power in watts; not given for "N/A"
AMD_JOULES       the energy counter; else that power since the start of the machine
AMD_LOST         HIP number of a GPU that no longer answers
"""

import os
import time

RESOLUTION_UJ = 15.259


class AmdSmiException(Exception):  # noqa: N818 - its name is AMD's
    pass


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, code):
        super().__init__(f"error {code}")
        self.code = code

    def get_error_code(self):
        return self.code

    def get_error_info(self):
        return f"AMDSMI_STATUS {self.code}"


class AmdSmiInitFlags:
    INIT_AMD_GPUS = 2


def amdsmi_init(flag):
    if code := int(os.environ.get("AMD_INIT") or 0):
        raise AmdSmiLibraryException(code)


def amdsmi_shut_down():
    pass


def amdsmi_get_processor_handles():
    return [f"handle {number}" for number in range(int(os.environ.get("AMD_GPUS") or 1))]


def amdsmi_get_gpu_enumeration_info(handle):
    count = len(amdsmi_get_processor_handles())
    return {"hip_id": count - 1 - int(handle.split()[1])}


def amdsmi_get_gpu_asic_info(handle):
    return {"market_name": os.environ.get("AMD_NAME") or "Stub MI300X"}


def amdsmi_get_power_info(handle):
    hip = _checked(handle)
    watts = os.environ["AMD_WATTS"].split(",")[hip]
    average = os.environ.get("AMD_AVERAGE")
    return {
        "current_socket_power": int(watts) if watts else "N/A",
        "average_socket_power": int(average) if average else "N/A",
    }


def amdsmi_get_energy_count(handle):
    hip = _checked(handle)
    watts = os.environ["AMD_WATTS"].split(",")[hip] or "0"
    given_j = os.environ.get("AMD_JOULES")
    energy_j = float(given_j) if given_j else time.monotonic() * float(watts)
    return {
        "energy_accumulator": round(energy_j * 1e6 / RESOLUTION_UJ),
        "counter_resolution": RESOLUTION_UJ,
        "timestamp": 0,
    }


def _checked(handle):
    hip = amdsmi_get_gpu_enumeration_info(handle)["hip_id"]
    if os.environ.get("AMD_LOST") == str(hip):
        raise AmdSmiLibraryException(4294967295)
    return hip
