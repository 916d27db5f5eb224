"""Shelly plugs of the second generation and later (Plus, Pro, Gen3, Gen4), over HTTP.

::

    GET /rpc/Switch.GetStatus?id=0   {"id":0, "output":true, "apower":87.4, "voltage":231.2,
                                      "current":0.401, "aenergy":{"total":6532.041, ...},
                                      "temperature":{"tC":41.3, "tF":106.3}}
    GET /rpc/PM1.GetStatus?id=0      the same without output: plugs that cannot switch (Plug PM)
    GET /shelly                      {"model":"S3PL-00112EU", "gen":3, "ver":"1.4.4", ...}, which
                                     every generation answers without a password

``apower`` is in watts, ``total`` in watt-hours. With a password, all but the last are answered
with status 401 and a digest challenge, user ``admin``
(shelly-api-docs.shelly.cloud/gen2/General/Authentication). Plugs of the first generation know no
``/rpc``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from joulelab.energy.meters.plug import Plug, PlugAnswer, PlugDetector, known, step
from joulelab.energy.meters.plug_http import Answer, Digest, PlugHttpClient
from joulelab.errors import MeterError, SettingsError

WATT_HOUR_J = 3600.0
UNAUTHORIZED, NOT_FOUND, TOO_MANY = 401, 404, 429
COMPONENTS = ("Switch", "PM1")
PASSWORD_HINT = (
    "password in the table [meter.shelly] of the settings file, or JOULELAB_SHELLY_PASSWORD"
)


class ShellyPlug(Plug):
    """Client for a Shelly plug.

    Args:
        http: asks the device.
        switch: number of the socket, if it has several.
    """

    kind: ClassVar[str] = "shelly"
    relative_error: ClassVar[float] = 0.05
    remark: ClassVar[str] = (
        "5 % is an assumption, the maker states no bound: seven of eight meters that the Swedish "
        "Energy Agency tested in 2022, a Shelly Plug S among them, were within 3.5 % from 30 W on"
    )

    def __init__(self, http: PlugHttpClient, switch: int = 0) -> None:
        super().__init__(http)
        self._switch = switch
        self._components: tuple[str, ...] = COMPONENTS
        self._digest = Digest("admin", http.secret)

    def ask(self) -> PlugAnswer:
        """The current readings of the socket."""
        asked_s, deadline_s = time.monotonic(), self.http.deadline_s()
        for component in self._components:
            path = f"/rpc/{component}.GetStatus?id={self._switch}"
            answer = self._get(path, deadline_s)
            if answer.status != NOT_FOUND:
                status = self.http.table(answer)
                self._components = (component,)
                return self._read(status, asked_s)
        raise self._not_this_kind(deadline_s)

    def about(self) -> Mapping[str, str]:
        """Model and firmware."""
        return {
            name: self.http.excerpt(str(value)).strip("'\"")
            for name, value in self._identity(self.http.deadline_s()).items()
            if name in ("model", "firmware") and value
        }

    def _read(self, status: Mapping[str, Any], asked_s: float) -> PlugAnswer:
        if "apower" not in status:
            raise MeterError(
                f"{self.http.address}: its answer has no apower: not a plug with metering?",
                "use a Shelly plug of the second generation or later that measures power",
            )
        energy, heat = status.get("aenergy"), status.get("temperature")
        total = energy.get("total") if isinstance(energy, dict) else None
        return PlugAnswer(
            self.watts(status["apower"]),
            asked_s,
            None if total is None else self.joules(total, WATT_HOUR_J),
            step(total) * WATT_HOUR_J,
            known(
                voltage_v=status.get("voltage"),
                current_a=status.get("current"),
                temperature_c=heat.get("tC") if isinstance(heat, dict) else None,
            ),
        )

    def _get(self, path: str, deadline_s: float) -> Answer:
        """The answer to a request that may need the password."""
        answer = self.http.get(path, deadline_s, self._digest.header(path))
        if answer.status == UNAUTHORIZED:
            # The first request, or a stale nonce.
            if not self.http.secret:
                raise MeterError(f"{self.http.address}: it asks for a password", PASSWORD_HINT)
            if not self._digest.accept(answer.challenges):
                raise MeterError(
                    f"{self.http.address}: its way of asking for a password is not supported",
                    "plugs use digest authentication with SHA-256; check that this is a plug",
                )
            answer = self.http.get(path, deadline_s, self._digest.header(path))
        if answer.status == UNAUTHORIZED:
            self._digest.forget()
            raise MeterError(f"{self.http.address}: wrong password", PASSWORD_HINT)
        if answer.status == TOO_MANY:
            self._digest.forget()  # repeating a refused request would extend the refusal
            raise MeterError(
                f"{self.http.address}: it refuses requests for now: too many requests, or too many "
                "wrong passwords",
                "wait a minute, and check what else polls it",
            )
        return answer

    def _identity(self, deadline_s: float) -> Mapping[str, Any]:
        table = self.http.table(self.http.get("/shelly", deadline_s))
        model = table.get("model") or table.get("type")
        return {"model": model, "firmware": table.get("ver"), "generation": table.get("gen", 1)}

    def _not_this_kind(self, deadline_s: float) -> MeterError:
        try:
            identity = self._identity(deadline_s)
        except MeterError:
            identity = {}
        address = self.http.address
        if not identity.get("model"):
            return MeterError(f"{address}: it is not a Shelly plug", "check the address")
        model = self.http.excerpt(str(identity["model"]))
        if identity["generation"] == 1:
            return MeterError(
                f"{address}: {model} is a Shelly of the first generation, which is not supported",
                "use a plug of the second generation or later (Plus, Gen3, Gen4)",
            )
        return MeterError(
            f"{address}: {model} has no socket {self._switch} that measures",
            "the first is switch=0; check that it is a plug with metering",
        )


@dataclass
class ShellyDetector(PlugDetector):
    """Detects a Shelly plug.

    Args:
        switch: number of the socket, if the plug has several.

    Raises:
        SettingsError: a setting is not valid.
    """

    kind: ClassVar[str] = "shelly"

    switch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.switch, bool) or not isinstance(self.switch, int) or self.switch < 0:
            raise SettingsError(
                f"shelly: switch = {self.switch!r} is not a number", "0 is the first"
            )

    def plug(self, http: PlugHttpClient) -> Plug:
        """The plug at the address of the settings."""
        return ShellyPlug(http, self.switch)
