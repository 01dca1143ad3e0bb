"""The page of error codes: from the texts of ``asyncjobs explain``, the tree of errors, and what maps it."""

from __future__ import annotations

from asyncjobs import exceptions
from asyncjobs.cli.explain import explanations
from asyncjobs.cli.failures import exit_code_of
from asyncjobs.web.problems import status_of

HEAD = """\
# Error codes

Every error has a stable `code`: `error.code` in a program, `code` in a problem document over HTTP, and with `--json` in
the output of a command that fails. `asyncjobs explain CODE` prints what is here, without a network.
"""


def page() -> str:
    """Write the page."""
    parts = [HEAD]
    for found in explanations().values():
        parts.append(f"## {found.code}\n")
        if found.raised_as:
            kinds = [getattr(exceptions, name) for name in found.raised_as]
            names = ", ".join(f"{{py:exc}}`~asyncjobs.{name}`" for name in found.raised_as)
            parts.append(f"{names} · HTTP status {status_of(kinds[0])} · exit code {exit_code_of(kinds[0])}\n")
        parts += [f"{found.meaning}\n", f"**Fix:** {found.fix}\n"]
    return "\n".join(parts)
