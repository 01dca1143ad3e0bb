"""Define ``Pipeline``: steps in a row, each of which takes what the one before returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
Next = TypeVar("Next")


class Runner(Generic[In, Out]):
    """A step of a pipeline: a subclass defines ``run``."""

    async def run(self, inputs: In) -> Out:
        """Return the output of the step for these inputs."""
        raise NotImplementedError(f"{type(self).__name__}.run")


class Pipeline(Runner[In, Out]):
    """Steps in a row. A pipeline is a step itself, and does not change: ``then`` returns a new one."""

    def __init__(self, steps: Sequence[Runner[Any, Any]] | None = None) -> None:
        self.steps: list[Runner[Any, Any]] = list(steps or ())

    def then(self, runner: Runner[Out, Next]) -> Pipeline[In, Next]:
        """Return a pipeline with one more step behind."""
        return Pipeline([*self.steps, runner])

    async def execute(self, inputs: In) -> Out:
        """Run all steps, each with the output of the one before; without steps, return the inputs."""
        passed: Any = inputs
        for step in self.steps:
            passed = await step.run(passed)
        return passed

    async def run(self, inputs: In) -> Out:
        """Run all steps: see ``execute``."""
        return await self.execute(inputs)
