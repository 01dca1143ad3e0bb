"""Store what a run returned, and give it back: a ``CrewOutput`` where CrewAI is there, else a dict with the same keys.

What is stored holds plain values alone. Models in it are restored where their class is imported already: stored data
never imports anything.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct, to_builtins

from asyncjobs.integrations.crewai.answers import UnknownAnswerError, find_model, validated
from asyncjobs.integrations.crewai.library import crewai_module
from asyncjobs.integrations.crewai.shown import as_content, as_plain, is_model
from asyncjobs.plurals import counted

_MODEL = "pydantic"


class CrewResult(Struct):
    """The ``CrewOutput`` of a run, as it is stored."""

    raw: str
    pydantic: Any
    json_dict: Any
    tasks_output: list[dict[str, Any]]
    token_usage: dict[str, Any]
    models: list[str | None]
    """The names of the classes of ``pydantic``: of the whole, and of each task."""

    def __asyncjobs_restore__(self) -> Any:
        """Return the ``CrewOutput``; a dict with the same keys, where CrewAI is not imported."""
        data: dict[str, Any] = to_builtins(self)
        models = data.pop("models")
        if sys.modules.get("crewai") is None:
            return data
        crew_output = crewai_module("crewai.crews.crew_output").CrewOutput
        task_output = crewai_module("crewai.tasks.task_output").TaskOutput
        tasks = [
            _with_model(task_output.model_validate({**task, _MODEL: None}), task.get(_MODEL), name)
            for task, name in zip(data["tasks_output"], models[1:], strict=True)
        ]
        output = crew_output.model_validate({**data, _MODEL: None, "tasks_output": []})
        output.tasks_output = tasks
        return _with_model(output, data[_MODEL], models[0])


def _with_model(output: Any, fields: Any, name: str | None) -> Any:
    """Set the model that was the output, where its class is known here; else its fields are in ``json_dict``."""
    if name is not None:
        try:
            output.pydantic = validated(find_model(name), fields)
        except UnknownAnswerError:
            if output.json_dict is None:
                output.json_dict = fields
    return output


class FlowResult(Struct):
    """What a flow returned, and its state, as they are stored."""

    value: Any
    state: Any
    model: str | None = None
    """The name of the class of the value."""

    def __asyncjobs_restore__(self) -> Any:
        """Return the value: a ``CrewOutput``, a model whose class is imported here, or plain values."""
        if isinstance(self.value, CrewResult):
            return self.value.__asyncjobs_restore__()
        if self.model == _CREW_OUTPUT:
            return CrewResult(**cast("dict[str, Any]", self.value)).__asyncjobs_restore__()
        if self.model is None:
            return self.value
        try:
            return validated(find_model(self.model), self.value)
        except UnknownAnswerError:
            return self.value


_CREW_OUTPUT = "CrewOutput"
_LONGEST_CONVERSATION = 200_000
"""Characters of the messages of a task that are stored; they are most of an output."""


def crew_result(output: Any, metrics: Mapping[str, int]) -> CrewResult:
    """Return what is stored of a ``CrewOutput``.

    :param metrics: what the run has cost. Its own count has the calls of an LLM once for each agent that shares it.
    """
    data: dict[str, Any] = output.model_dump(mode="json", serialize_as_any=True)
    models = [_name(output.pydantic), *(_name(task.pydantic) for task in output.tasks_output)]
    for task in data["tasks_output"]:
        _shorten(task)
    return CrewResult(
        raw=data["raw"],
        pydantic=data[_MODEL],
        json_dict=data["json_dict"],
        tasks_output=data["tasks_output"],
        token_usage={**data["token_usage"], **metrics},
        models=models,
    )


def flow_result(value: Any, state: Any, metrics: Mapping[str, int]) -> FlowResult:
    """Return what is stored of the value of a flow: what is neither plain nor a model, as text."""
    plain_state = as_plain(state)
    if isinstance(value, crewai_module("crewai.crews.crew_output").CrewOutput):
        return FlowResult(to_builtins(crew_result(value, metrics)), plain_state, _CREW_OUTPUT)
    if is_model(value):
        return FlowResult(value.model_dump(mode="json", serialize_as_any=True), plain_state, _name(value))
    return FlowResult(_plain(value), plain_state)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool, bytes)):
        return value
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("list[Any]", value)]
    return _plain(as_content(value))


def _name(model: Any) -> str | None:
    return None if model is None else f"{type(model).__module__}:{type(model).__qualname__}"


def _shorten(task: dict[str, Any]) -> None:
    """Leave out the oldest messages of a task that would make the result too large."""
    messages: list[Any] = task.get("messages") or []
    room = _LONGEST_CONVERSATION
    for index in range(len(messages) - 1, -1, -1):
        room -= len(str(messages[index]))
        if room < 0:
            left_out = {"role": "system", "content": f"[not stored: {counted(index + 1, 'earlier message')}]"}
            task["messages"] = [left_out, *messages[index + 1 :]]
            return
