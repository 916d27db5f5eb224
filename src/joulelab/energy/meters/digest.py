"""HTTP digest authentication with SHA-256, as RFC 7616 defines it and Shelly's plugs ask for it.

    response = H(H(user:realm:password) : nonce : nc : cnonce : auth : H(method:path))

A nonce is used again with a growing count until the plug calls it stale: firmware 2 keeps few of
them and refuses, with status 429, whoever asks for a new one with every question.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

_FIELD = re.compile(r'(\w+)\s*=\s*(?:"([^"\\\x00-\x1f]*)"|([^\s,"]+))')


class Digest:
    """Answers the challenges of one server.

    Args:
        user: as the server knows it.
        password: in no message, and not in the representation.
    """

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._challenge: dict[str, str] = {}
        self._count = 0

    def accept(self, challenges: Sequence[str]) -> bool:
        """Take a new challenge.

        Args:
            challenges: the ``WWW-Authenticate`` headers.

        Returns:
            Whether one of them is a digest by SHA-256.
        """
        self.forget()
        for text in challenges:
            fields = {key.lower(): one or other for key, one, other in _FIELD.findall(text)}
            sha = fields.get("algorithm", "").upper() == "SHA-256"
            auth = "auth" in re.split(r"[\s,]+", fields.get("qop", ""))
            if sha and auth and {"realm", "nonce"} <= fields.keys():
                self._challenge = fields
                return True
        return False

    def forget(self) -> None:
        """Answer no challenge until there is a new one."""
        self._challenge, self._count = {}, 0

    def header(self, path: str, method: str = "GET") -> str:
        """The ``Authorization`` header of the next request; empty where there is no challenge.

        Args:
            path: of the request, with its query.
            method: of the request.
        """
        if not self._challenge:
            return ""
        self._count += 1
        realm, nonce = self._challenge["realm"], self._challenge["nonce"]
        count, own = f"{self._count:08x}", secrets.token_hex(8)
        account = _sha256(f"{self._user}:{realm}:{self._password}")
        request = _sha256(f"{method}:{path}")
        response = _sha256(f"{account}:{nonce}:{count}:{own}:auth:{request}")
        text = (
            f'Digest username="{self._user}", realm="{realm}", nonce="{nonce}", uri="{path}", '
            f'response="{response}", algorithm=SHA-256, qop=auth, nc={count}, cnonce="{own}"'
        )
        if "opaque" in self._challenge:  # an empty one is to be returned as well
            text += f', opaque="{self._challenge["opaque"]}"'
        return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
