"""Serve the API of OpenAI's chat completions from a script: a language model that needs no key and no network.

Each request is answered by ``reply(request)``, word by word if it asks for a stream.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WORD_EVERY = 0.03
"""Seconds between two words of a stream."""

_numbers = itertools.count(1)


@dataclass
class Reply:
    """What the model says: words, or tools that it wants to be called; or the status of an error."""

    text: str = ""
    tools: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    first_after: float = 0.0
    """Seconds until the first word."""
    word_every: float = WORD_EVERY
    status: int = 200
    broken_after: int | None = None
    """So many words of a stream are sent, and then the connection ends."""
    body: bytes | None = None
    """The whole answer, as it is sent, in place of all else."""
    before_word: Callable[[int], Awaitable[None]] | None = None
    """Is awaited before each word of a stream, with its number: a script may hold an answer half-way."""


@dataclass
class Call:
    """A request, as scripts look at it."""

    body: dict[str, Any]
    number: int

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        return self.body.get("messages") or []

    @property
    def text(self) -> str:
        """All that was said so far, as one text."""
        return "\n".join(str(message.get("content") or "") for message in self.messages)

    @property
    def tools(self) -> list[str]:
        """The names of the tools that may be called."""
        return [tool["function"]["name"] for tool in self.body.get("tools") or []]

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer has to fit, if there is one."""
        wanted = self.body.get("response_format") or {}
        return (wanted.get("json_schema") or {}).get("schema")

    @property
    def tool_results(self) -> list[str]:
        """What the tools that were called have returned."""
        return [str(message.get("content")) for message in self.messages if message.get("role") == "tool"]


Observe = Callable[[str, Call], None]


def make_app(reply: Callable[[Call], Reply], observe: Observe = lambda what, call: None) -> Starlette:
    """Return the server.

    :param reply: the script.
    :param observe: is called with ``"begun"``, and then ``"finished"`` or ``"left"``: the client closed the connection.
    """

    async def completions(request: Request) -> Response:
        call = Call(await request.json(), next(_numbers))
        observe("begun", call)
        answer = reply(call)
        if answer.body is not None:
            observe("finished", call)
            return Response(answer.body, media_type="application/json")
        if answer.status != 200:
            await anyio.sleep(answer.first_after)
            observe("finished", call)
            error = {"message": f"scripted error {answer.status}", "type": "scripted", "code": str(answer.status)}
            return JSONResponse({"error": error}, answer.status)
        if call.body.get("stream"):
            return StreamingResponse(_stream(call, answer, observe), media_type="text/event-stream")
        with _observed(call, observe) as done:
            await _wait_unless_left(request, answer.first_after + answer.word_every * len(_words(answer.text)))
            done()
        return JSONResponse(_whole(call, answer))

    return Starlette(routes=[Route("/v1/chat/completions", completions, methods=["POST"])])


class _observed:  # noqa: N801 - a context manager
    def __init__(self, call: Call, observe: Observe) -> None:
        self._call, self._observe, self._done = call, observe, False

    def __enter__(self) -> Callable[[], None]:
        return self._finish

    def _finish(self) -> None:
        self._done = True

    def __exit__(self, *_: object) -> None:
        self._observe("finished" if self._done else "left", self._call)


class _LeftError(Exception):
    """The client closed the connection."""


async def _wait_unless_left(request: Request, seconds: float) -> None:
    ends = time.monotonic() + seconds
    while (rest := ends - time.monotonic()) > 0:
        if await request.is_disconnected():
            raise _LeftError
        await anyio.sleep(min(rest, 0.05))


async def _stream(call: Call, answer: Reply, observe: Observe) -> AsyncGenerator[str, None]:
    with _observed(call, observe) as done:
        await anyio.sleep(answer.first_after)
        yield _chunk(call, {"role": "assistant", "content": ""})
        for index, (name, arguments) in enumerate(answer.tools):
            function = {"name": name, "arguments": json.dumps(arguments)}
            tool = {"index": index, "id": f"call_{call.number}_{index}", "type": "function", "function": function}
            yield _chunk(call, {"tool_calls": [tool]})
        for number, word in enumerate(_words(answer.text)):
            if number == answer.broken_after:
                raise ConnectionError("the script ends the stream here")
            await anyio.sleep(answer.word_every)
            if answer.before_word is not None:
                await answer.before_word(number)
            yield _chunk(call, {"content": word})
        yield _chunk(call, {}, "tool_calls" if answer.tools else "stop")
        yield _line({**_head(call, "chat.completion.chunk"), "choices": [], "usage": _usage(call, answer)})
        yield "data: [DONE]\n\n"
        done()


def _head(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{call.number}",
        "object": kind,
        "created": int(time.time()),
        "model": call.body.get("model", "scripted"),
    }


def _chunk(call: Call, delta: dict[str, Any], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _line({**_head(call, "chat.completion.chunk"), "choices": [choice], "usage": None})


def _line(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _whole(call: Call, answer: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tools:
        message["tool_calls"] = [
            {
                "id": f"call_{call.number}_{index}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for index, (name, arguments) in enumerate(answer.tools)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tools else "stop"}
    return {**_head(call, "chat.completion"), "choices": [choice], "usage": _usage(call, answer)}


def _usage(call: Call, answer: Reply) -> dict[str, int]:
    """Count words as tokens."""
    asked, said = len(call.text.split()), max(1, len(answer.text.split()))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)
