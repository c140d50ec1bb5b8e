"""Tencent Cloud's signature for requests, version 3 (https://cloud.tencent.com/document/api/1729/101843)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256

_ALGORITHM = "TC3-HMAC-SHA256"
_SIGNED_HEADERS = "content-type;host"


def sign(
    *, secret_id: str, secret_key: str, service: str, host: str, body: bytes, timestamp: int, content_type: str = "application/json"
) -> Mapping[str, str]:
    """The headers that sign a POST to `/`. They hold for five minutes around the time stamp.

    Args:
        service: first part of the vendor's own host name, also where another host is called.
        host: as in the Host header, so with the port where it is not the usual one.
        body: exactly as it is sent.
        timestamp: seconds since 1970.
    """
    date = datetime.fromtimestamp(timestamp, UTC).date().isoformat()
    scope = f"{date}/{service}/tc3_request"
    request = f"POST\n/\n\ncontent-type:{content_type}\nhost:{host}\n\n{_SIGNED_HEADERS}\n{sha256(body).hexdigest()}"
    text = f"{_ALGORITHM}\n{timestamp}\n{scope}\n{sha256(request.encode()).hexdigest()}"
    key = f"TC3{secret_key}".encode()
    for part in scope.split("/"):
        key = _keyed(key, part)
    signature = _keyed(key, text).hex()
    return {
        "Authorization": f"{_ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={_SIGNED_HEADERS}, Signature={signature}",
        "X-TC-Timestamp": str(timestamp),
    }


def _keyed(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
