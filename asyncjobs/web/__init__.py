"""asyncjobs over HTTP: ``jp.asgi_app(…)`` is made of this. Needs the extra ``web``.

``Principal`` is who asks, for ``auth=``; ``allow_anyone`` opens the app to everybody whom its host lets through.
"""

from __future__ import annotations

from asyncjobs.web.settings import READER, Principal, WebConfig, allow_anyone, redact_secrets

__all__ = ["READER", "Principal", "WebConfig", "allow_anyone", "redact_secrets"]
