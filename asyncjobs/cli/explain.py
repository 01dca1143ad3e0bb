"""``asyncjobs explain``: explain the code of an error, and its fix, without a network."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import click
from msgspec import Struct

from asyncjobs import exceptions
from asyncjobs.addresses import ADDRESSES
from asyncjobs.cli.context import Context, pass_context
from asyncjobs.cli.failures import NOT_FOUND, Failure
from asyncjobs.spellings import nearest


class Explanation(Struct, frozen=True):
    """What a code means, the fix, and the names of the classes of this package whose errors have it."""

    code: str
    meaning: str
    fix: str
    raised_as: tuple[str, ...]


@cache
def explanations() -> dict[str, Explanation]:
    """Read the explanations of all codes: those of errors, of the HTTP interface and of commands."""
    text = (files("asyncjobs.cli") / "error_codes.md").read_text("utf-8")
    return {found.code: found for found in map(_parsed, text.split("\n\n## "))}


def _parsed(section: str) -> Explanation:
    head, meaning, fix = section.removeprefix("## ").strip().split("\n\n")
    kinds = [kind for kind in vars(exceptions).values() if getattr(kind, "__module__", "") == exceptions.__name__]
    raised_as = tuple(sorted(kind.__name__ for kind in kinds if getattr(kind, "code", "") == head))
    return Explanation(head, meaning.replace("\n", " "), fix.removeprefix("Fix: ").replace("\n", " "), raised_as)


@click.command()
@click.argument("code", required=False)
@pass_context
def explain(context: Context, code: str | None) -> None:
    """Explain the code of an error, and its fix. Without CODE, list all codes."""
    out, known = context.out, explanations()
    if code is None:
        if out.json:
            out.data(list(known.values()))
            return
        width = max(map(len, known))
        for found in known.values():
            out.text(f"{found.code:{width}}  {_shown(found.meaning.partition('. ')[0].rstrip('.'))}")
        return
    found = known.get(code)
    if found is None:
        near = nearest(code, known)
        hint = f"did you mean {near!r}?" if near else "asyncjobs explain lists all codes"
        raise Failure(f"there is no error with the code {code!r}", exit_code=NOT_FOUND, hint=hint)
    if out.json:
        out.data(found)
        return
    out.text(out.style(f"{code}  ({', '.join(found.raised_as)})" if found.raised_as else code, "cyan"))
    for paragraph in (found.meaning, f"Fix: {found.fix}"):
        out.text()
        out.text(click.wrap_text(_shown(paragraph), width=min(out.width, 100)))
    address = ADDRESSES.link(f"docs/reference/error-codes.md#{code}")
    if address is not None:
        out.text()
        out.text(f"More: {address}")


def _shown(text: str) -> str:
    return text.replace("`", "")
