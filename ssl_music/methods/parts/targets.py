"""Targets that the catalog's fingerprint does not hold: a run must not go on with others."""

import hashlib
from collections.abc import Mapping
from typing import Any

from ssl_music.errors import UserError

KEY = "targets"


def digest_of(targets: Mapping[Any, Any]) -> str:
    """16 hex digits over names and what stands for them.

    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}), digest_of({"a": 1}) == digest_of({"a": 2})
    (True, False)
    """
    total = hashlib.sha256()
    for name in sorted(targets):
        total.update(repr((name, targets[name])).encode(errors="surrogatepass"))
    return total.hexdigest()[:16]


def check_same_targets(checkpoint: Mapping[str, Any], digest: str, *, what: str) -> None:
    """Refuses a checkpoint whose run learnt other targets."""
    if checkpoint[KEY] != digest:
        raise UserError(
            f"{what} have changed since this run began ({checkpoint[KEY]} then, {digest} now), and with "
            "them its targets. Put them back as they were, or give another out"
        )
