"""Read credentials again from their source when AWS refuses them.

botocore does so itself for those of a role. Those of a file or the environment it reads once, though they may be
temporary, and another program may write new ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from asyncjobs.backends.sqs.errors import REFUSED_KEYS, RENEWED

RENEWED_AFTER = 5.0
"""Seconds between two looks at where credentials come from."""
_BEGAN = "asyncjobs.credentials.sent"


class Found:
    """How often one of the sessions of a store has found new credentials: the others then look, too."""

    def __init__(self) -> None:
        self.times = 0


class Renewal:
    """The credentials of a session, which its clients share.

    An answer about credentials that were renewed since its call began is marked: it says nothing about the new ones.
    """

    def __init__(self, session: Any, found: Found) -> None:
        self._session = session
        self._found = found
        self._seen = found.times
        self._looked_at = -RENEWED_AFTER
        self._renewed_at = 0.0

    def _is_outdated(self, context: dict[str, Any]) -> bool:
        context[_BEGAN] = time.monotonic()
        return self._seen != self._found.times

    def _is_due(self, answer: Mapping[str, Any]) -> bool:
        now = time.monotonic()
        if answer.get("Error", {}).get("Code") not in REFUSED_KEYS or now - self._looked_at < RENEWED_AFTER:
            return False
        self._looked_at = now
        return True

    def _replace(self, current: Any, found: Any, *, others_have: bool) -> None:
        """Change the credentials that all clients of a session share, unless botocore itself renews them."""
        if others_have:
            self._seen = self._found.times
        if (
            current is None
            or found is None
            or type(current) is not type(found)
            or hasattr(found, "refresh_needed")
            or (current.access_key, current.secret_key, current.token)
            == (found.access_key, found.secret_key, found.token)
        ):
            return
        current.access_key, current.secret_key, current.token = found.access_key, found.secret_key, found.token
        self._renewed_at = time.monotonic()
        if not others_have:
            self._found.times += 1
            self._seen = self._found.times

    def _mark(self, answer: dict[str, Any], context: Mapping[str, Any]) -> None:
        if answer.get("Error", {}).get("Code") in REFUSED_KEYS and context.get(_BEGAN, 0.0) < self._renewed_at:
            answer.setdefault("ResponseMetadata", {})[RENEWED] = True

    # -- on the loop

    async def on_call(self, context: dict[str, Any], **_: object) -> None:
        """Look before a call, if another session has found new ones."""
        if self._is_outdated(context):
            await self._look(others_have=True)

    async def on_answer(self, parsed: dict[str, Any], context: Mapping[str, Any], **_: object) -> None:
        """Look again, if an answer asks for it."""
        if self._is_due(parsed):
            await self._look(others_have=False)
        self._mark(parsed, context)

    async def _look(self, *, others_have: bool) -> None:
        found = await self._session.get_component("credential_provider").load_credentials()
        self._replace(await self._session.get_credentials(), found, others_have=others_have)

    # -- in a thread, with a session of botocore itself

    def on_call_in_thread(self, context: dict[str, Any], **_: object) -> None:
        """Look before a call, as ``on_call`` does."""
        if self._is_outdated(context):
            self._look_in_thread(others_have=True)

    def on_answer_in_thread(self, parsed: dict[str, Any], context: Mapping[str, Any], **_: object) -> None:
        """Look again, as ``on_answer`` does."""
        if self._is_due(parsed):
            self._look_in_thread(others_have=False)
        self._mark(parsed, context)

    def _look_in_thread(self, *, others_have: bool) -> None:
        found = self._session.get_component("credential_provider").load_credentials()
        self._replace(self._session.get_credentials(), found, others_have=others_have)
