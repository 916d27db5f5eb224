"""A stand-in for the compiled library by which Zeus asks macOS; the moment is in the environment.

APPLE_MS         milliseconds since the monitor was opened: each counter has its own power
APPLE_LACKS      a field that this chip does not have
"""

import os

WATTS = {
    "cpu_total_mj": 10,
    "gpu_mj": 20,
    "gpu_sram_mj": 1,
    "dram_mj": 3,
    "ane_mj": 5,
    "efficiency_core_manager_mj": 1,
    "performance_core_manager_mj": 1,
    "efficiency_cores_mj": [1, 1],
    "performance_cores_mj": [2, 2],
    "efficiency_cluster_mj": [2],
    "performance_cluster_mj": [3, 4],
}


class Metrics:
    pass


class AppleEnergyMonitor:
    def get_cumulative_energy(self):
        if os.environ.get("APPLE_MS") == "gone":
            raise RuntimeError("IOReport does not answer")
        ms = int(os.environ["APPLE_MS"])
        metrics = Metrics()
        for field, watts in WATTS.items():
            energy = [one * ms for one in watts] if isinstance(watts, list) else watts * ms
            lacks = field in os.environ.get("APPLE_LACKS", "").split(",")
            setattr(metrics, field, None if lacks else energy)
        return metrics
