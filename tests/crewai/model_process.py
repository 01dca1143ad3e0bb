"""The scripted model: ``python -m tests.crewai.model_process LOGFILE``. What it answers stands in the prompts.

``[[tool NAME JSON]]``: call this tool first. ``[[slow SECONDS]]``: as long until the first word. ``[[words N]]``: how
many words. ``[[every SECONDS]]``: between two words. ``[[status CODE TIMES]]``: an error, so many times.
``[[broken N]]``: the stream ends after so many words. ``[[garbage]]``: the answer is no JSON. ``[[nothing]]``: it is
empty.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import uvicorn

from examples.crew.model_server import Call, Reply, make_app

_refused: Counter[str] = Counter()


def key_of(call: Call) -> str:
    """What a call is about: equal for equal conversations."""
    return hashlib.sha256(json.dumps(call.messages, sort_keys=True).encode()).hexdigest()[:12]


def reply(call: Call) -> Reply:
    text = call.text
    code, times = _number("status", text, 0), _second("status", text, 1_000_000)
    if code and _refused[key_of(call)] < times:
        _refused[key_of(call)] += 1
        return Reply(status=int(code))
    tool = re.search(r"\[\[tool (\w+) (\{.*?\})\]\]", text)
    if tool is not None and tool[1] in call.tools and not call.tool_results:
        return Reply(tools=[(tool[1], json.loads(tool[2]))], first_after=_number("slow", text, 0.0))
    if "[[garbage]]" in text or "[[nothing]]" in text:
        return Reply(body=b"<html>" if "[[garbage]]" in text else b"")
    if (schema := call.schema) is not None:
        return Reply(text=json.dumps(fill(schema, text)), word_every=0.001)
    words = [f"{key_of(call)}.{index} " for index in range(int(_number("words", text, 5)))]
    broken = _number("broken", text, -1)
    return Reply(
        text="".join(["Final Answer: ", *words]),
        first_after=_number("slow", text, 0.0),
        word_every=_number("every", text, 0.005),
        broken_after=None if broken < 0 else int(broken),
    )


def fill(schema: dict[str, Any], text: str) -> Any:
    """A value that fits: of an enum what stands behind "Feedback: ", else the first; texts are "text", numbers 7."""
    if "enum" in schema:
        said = re.search(r"Feedback: (.*)", text)
        return said[1] if said is not None and said[1] in schema["enum"] else schema["enum"][0]
    if schema.get("type") == "object":
        return {name: fill(field, text) for name, field in schema["properties"].items()}
    return {"integer": 7, "number": 7.0, "boolean": True, "array": []}.get(schema.get("type", ""), "text")


def _number(name: str, text: str, default: float) -> float:
    found = re.search(rf"\[\[{name} ([0-9.]+)", text)
    return default if found is None else float(found[1])


def _second(name: str, text: str, default: int) -> int:
    found = re.search(rf"\[\[{name} \S+ (\d+)\]\]", text)
    return default if found is None else int(found[1])


def main(log: Path) -> None:
    def observe(what: str, call: Call) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, "key": key_of(call), "number": call.number}) + "\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", flush=True)
        config = uvicorn.Config(make_app(reply, observe), log_level="critical", access_log=False)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
