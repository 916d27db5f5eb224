"""What a user may set of a smart plug, checked; the password is in no message, nor in a repr.

Settings come from TOML, from ``shelly:HOST?setting=value`` or from Python, so that a password of
digits may come as a number.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from joulelab.energy.meters.plug_http import Address
from joulelab.errors import SettingsError

TIMEOUT_S = 2.0
POLL_S = 1.0
LONGEST_S = 60.0
_DOMAIN = re.compile(r"[a-z][a-z0-9_-]*(:[A-Za-z0-9_.-]+)?")
_PRINTABLE = re.compile(r"[\w.:/\[\]-]*")


@dataclass(frozen=True)
class PlugSettings:
    """Where a plug is, and how it is asked.

    Attributes:
        address: ``None`` where not given.
        password: empty for none.
        domain: what its readings are called.
        timeout_s: how long one question may take.
        poll_s: time between two questions.
        relative_error: bound of the plug's own error; ``None`` for what is known of its kind.
    """

    address: Address | None
    password: str = field(default="", repr=False)
    domain: str = "wall"
    timeout_s: float = TIMEOUT_S
    poll_s: float = POLL_S
    relative_error: float | None = None

    @classmethod
    def checked(
        cls,
        kind: str,
        *,
        address: object,
        password: object,
        domain: object,
        timeout_s: object,
        poll_s: object,
        relative_error: object,
    ) -> PlugSettings:
        """Settings as they came from the user.

        Args:
            kind: name of the meter, for messages and for ``JOULELAB_<KIND>_PASSWORD``.
            address: text, empty for none.
            password: text or number; that of the environment where empty.
            domain: ``wall``, or for instance ``wall:1``.
            timeout_s: a number of seconds, 60 at most.
            poll_s: the same.
            relative_error: a number up to 1, or ``None``.

        Raises:
            SettingsError: one of them cannot be right.
        """
        if not isinstance(domain, str) or not _DOMAIN.fullmatch(domain):
            raise SettingsError(
                f"{kind}: domain = {domain!r} is no name of a domain", "for instance wall or wall:1"
            )
        return cls(
            _address(kind, address),
            _text(password) or os.environ.get(f"JOULELAB_{kind.upper()}_PASSWORD", ""),
            domain,
            _number(kind, "timeout_s", timeout_s, LONGEST_S),
            _number(kind, "poll_s", poll_s, LONGEST_S),
            None
            if relative_error is None
            else _number(kind, "relative_error", relative_error, 1.0),
        )

    @property
    def reached(self) -> Address:
        """The address, where it is known to be given."""
        if self.address is None:
            raise SettingsError("the plug's address is not given")
        return self.address


def _address(kind: str, value: object) -> Address | None:
    text = _text(value).strip()
    if not text:
        return None
    address = Address.parse(text)
    if address is None:
        # A user and password before the host, or a query behind it, are not for the screen.
        shown = f" {text!r}" if _PRINTABLE.fullmatch(text) else ""
        raise SettingsError(
            f"{kind}: the address{shown} is not that of a plug",
            "write host or host:port, IPv6 as [fe80::1]; http only; a password is a setting of "
            "its own",
        )
    return address


def _text(value: object) -> str:
    """Text as the user wrote it, before TOML or a query made a number or a truth value of it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(kind: str, name: str, value: object, largest: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= largest:
        return float(value)
    raise SettingsError(
        f"{kind}: {name} = {value!r} cannot be right", f"more than 0, at most {largest:g}"
    )
