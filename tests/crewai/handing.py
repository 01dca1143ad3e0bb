"""A flow that shows what it was given."""

from __future__ import annotations

from typing import Any

from crewai.flow.flow import Flow, start


class Shown(Flow[Any]):
    @start()
    def show(self) -> list[str]:
        given = self.state["given"]
        return [type(given).__name__, given if isinstance(given, str) else given["raw"]]
