# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest agent answers, read with distrust: whoever owns the guest decides what is in it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from ..model.errors import AblestackError, Code


class Answer:
    """The `return` of an answer of the agent in `vm` ("VM 'web1'").

    Every reader raises AgentUnavailable where the answer has not the shape that QEMU's guest agent gives it
    (QEMU Guest Agent Protocol Reference).
    """

    def __init__(self, value: Any, vm: str) -> None:
        self.value = value
        self._vm = vm

    @classmethod
    def of(cls, text: str, vm: str) -> Answer:
        """From the text of the whole answer."""
        try:
            whole = json.loads(text)
        except (ValueError, RecursionError):
            whole = None
        if not isinstance(whole, dict):
            raise cls(None, vm)._nonsense()
        return cls(whole.get("return"), vm)

    def number(self, key: str = "", least: int = 0, most: int = 2**63 - 1) -> int:
        """A whole number from `least` to `most`, of a key or of the answer itself."""
        found = self._item(key) if key else self.value
        if isinstance(found, int) and not isinstance(found, bool) and least <= found <= most:
            return found
        raise self._nonsense()

    def flag(self, key: str) -> bool:
        """A truth value; false where there is none."""
        return self._item(key) is True

    def text(self, key: str) -> str:
        """A text; empty where there is none."""
        found = self._item(key)
        return found if isinstance(found, str) else ""

    def data(self, key: str) -> bytes:
        """Bytes, sent as base64; empty where there are none."""
        try:
            return b64decode(self.text(key))
        except ValueError:
            raise self._nonsense() from None

    def has(self, key: str) -> bool:
        return self._item(key) is not None

    def rows(self, key: str = "") -> Iterator[Answer]:
        """The entries of a list, of a key or the answer itself; none where there is no list."""
        found = self._item(key) if key else self.value
        for row in found if isinstance(found, list) else ():
            yield Answer(row, self._vm)

    def _item(self, key: str) -> Any:
        if not isinstance(self.value, dict):
            raise self._nonsense()
        return self.value.get(key)

    def _nonsense(self) -> AblestackError:
        return AblestackError(
            Code.AGENT_UNAVAILABLE,
            f"the guest agent of {self._vm} gives an answer that makes no sense",
            "update qemu-guest-agent in the guest, or find out who answers there in its place",
        )
