"""Serve jobs over HTTP: ``jp.asgi_app(…)`` is made of this. Needs the extra ``web``.

``Principal`` is a caller, for ``auth=``; ``allow_anyone`` opens the app to every caller that its host admits.
"""

from __future__ import annotations

from asyncjobs.web.settings import READER, Principal, WebConfig, allow_anyone, redact_secrets

__all__ = ["READER", "Principal", "WebConfig", "allow_anyone", "redact_secrets"]
