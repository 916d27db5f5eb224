"""Plugs with Tasmota's firmware, over HTTP.

::

    GET /cm?cmnd=Status%208   {"StatusSNS":{"Time":"...", "ENERGY":{"Total":3.185, "Power":87,
                               "Voltage":231, "Current":0.401, ...}}}
    GET /cm?cmnd=Status%202   {"StatusFWR":{"Version":"14.2.0(release-tasmota)", ...}}

``Power`` is in watts, ``Total`` in kilowatt-hours; a device with several sockets gives lists, which
are added up. The password is part of the request, ``user=admin&password=...``; without it the
answer is status 401, before version 8.2.3 status 200 with ``{"WARNING":"Need
user=<username>&password=<password>"}``.

``Total`` has three decimals unless ``EnergyRes`` sets another number, at most five, so it moves in
steps of 3600 J; the firmware stores it as a 32-bit float, whose steps are 220 J between 512 and
1024 kWh (``EnergyUpdateToday`` in xdrv_03_energy.ino).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from joulelab.energy.counter import SOCKET_LIMIT_W
from joulelab.energy.meters.plug import Plug, PlugAnswer, PlugDetector, known, number, step
from joulelab.energy.meters.plug_http import SUCCESSES, PlugHttpClient
from joulelab.errors import MeterError

KILOWATT_HOUR_J = 3.6e6
UNAUTHORIZED = 401
PASSWORD_HINT = (
    "password in the table [meter.tasmota] of the settings file, or JOULELAB_TASMOTA_PASSWORD"
)
API_HINT = "check the address; SetOption128 1 in the plug's console enables its web commands"
_SINGLE_BITS = 2.0**29
"""A 32-bit float has 29 fewer mantissa bits than a 64-bit one."""


class TasmotaPlug(Plug):
    """Client for a plug with Tasmota."""

    kind: ClassVar[str] = "tasmota"
    relative_error: ClassVar[float] = 0.1
    remark: ClassVar[str] = (
        "10 % is an assumption for a plug that was not calibrated (tasmota.github.io, Power "
        "Monitoring Calibration); its chips allow 3 to 5 % (Tuya, Energy Metering)"
    )

    def ask(self) -> PlugAnswer:
        """The current readings of the plug."""
        asked_s = time.monotonic()
        status = self._command("Status 8").get("StatusSNS")
        energy = status.get("ENERGY") if isinstance(status, dict) else None
        if not isinstance(energy, dict) or "Power" not in energy:
            raise MeterError(
                f"{self.http.address}: its answer has no ENERGY.Power: not a Tasmota plug with "
                "metering?",
                API_HINT,
            )
        if isinstance(energy["Power"], list):
            self.limit_w = SOCKET_LIMIT_W * max(len(energy["Power"]), 1)
        total = energy.get("Total")
        energy_j = None if total is None else self.joules(_sum(total), KILOWATT_HOUR_J)
        return PlugAnswer(
            self.watts(_sum(energy["Power"])),
            asked_s,
            energy_j,
            0.0 if energy_j is None else _step_j(total, energy_j),
            known(voltage_v=energy.get("Voltage"), current_a=energy.get("Current")),
        )

    def about(self) -> Mapping[str, str]:
        """The firmware."""
        firmware = self._command("Status 2").get("StatusFWR")
        version = firmware.get("Version") if isinstance(firmware, dict) else None
        said = self.http.excerpt(str(version)).strip("'\"")
        return {"firmware": f"Tasmota {said}"} if version else {}

    def _command(self, command: str) -> dict[str, Any]:
        password = self.http.secret
        account = {"user": "admin", "password": password} if password else {}
        query = urlencode({**account, "cmnd": command}, quote_via=quote)
        answer = self.http.get(f"/cm?{query}", self.http.deadline_s())
        if answer.status == UNAUTHORIZED:
            raise self._refusal()
        if answer.status in SUCCESSES and not answer.text.strip():
            raise MeterError(f"{self.http.address}: its answer is empty", API_HINT)
        table = self.http.table(answer)
        if "password" in str(table.get("WARNING", "")):
            raise self._refusal()
        return table

    def _refusal(self) -> MeterError:
        why = "wrong password" if self.http.secret else "it asks for a password"
        return MeterError(f"{self.http.address}: {why}", PASSWORD_HINT)


class TasmotaDetector(PlugDetector):
    """Detects a plug with Tasmota's firmware; its password is the WebPassword."""

    kind: ClassVar[str] = "tasmota"

    def plug(self, http: PlugHttpClient) -> Plug:
        """The plug at the address of the settings."""
        return TasmotaPlug(http)


def _sum(value: object) -> object:
    """The sum over the sockets of a device with several; other values unchanged."""
    if not isinstance(value, list):
        return value
    numbers = [number(one) for one in value]
    present = [one for one in numbers if one is not None]
    return math.fsum(present) if present and len(present) == len(value) else value


def _step_j(total: object, energy_j: float) -> float:
    """The smallest step of the counter, from its digits or its float format."""
    parts = total if isinstance(total, list) else [total]
    single_kwh = math.ulp(energy_j / KILOWATT_HOUR_J) * _SINGLE_BITS
    return max(single_kwh, *(step(part) for part in parts)) * KILOWATT_HOUR_J
