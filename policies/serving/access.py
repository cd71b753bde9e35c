"""Who may use the server: the API key, and which addresses are of this machine only."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from policies.foreign.openpi.announcement import API_KEY_VARIABLE
from simscaleai.errors import SimScaleError

_SCHEME = "Api-Key "


def read_api_key(file: Path | None) -> str | None:
    """Return the API key: the text of `file`, or else the environment variable; None without both.

    Raises:
        SimScaleError: If the key is empty or has characters that no HTTP header can hold.
        OSError: If the file cannot be read.
    """
    key = (
        os.environ.get(API_KEY_VARIABLE) if file is None else file.read_text(encoding="utf-8", errors="replace").strip()
    )
    if key is not None and not (key and key.isascii() and key.isprintable()):
        source = API_KEY_VARIABLE if file is None else file
        raise SimScaleError(f"expected an API key of printable ASCII characters in {source}, got something else")
    return key


def is_authorized(headers: Sequence[str], key: str | None) -> bool:
    """Return whether the only header `Authorization` of a request holds the `key`, compared in constant time."""
    if key is None:
        return True
    given = headers[0] if len(headers) == 1 else ""
    return hmac.compare_digest(given.encode(errors="replace"), f"{_SCHEME}{key}".encode())


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address or name `host`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
