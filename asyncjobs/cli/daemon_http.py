"""Check who may use the HTTP interface of a daemon before it is started or restarted."""

from __future__ import annotations

import os

from asyncjobs.cli.failures import REFUSED, Failure
from asyncjobs.cli.state_files import DaemonState
from asyncjobs.settings import WEB_TOKEN


def find_closed(http: str | None) -> tuple[str, str] | None:
    """Return what to report about an address for other machines, which get no answers; None if all is well.

    :raises Failure: the address or the token cannot be used.
    """
    from asyncjobs.cli.serving import closed_to_others, given_token, is_own_host, parse_address

    if http is None or given_token() is not None:
        return None
    host, _ = parse_address(http)
    return None if is_own_host(host) else closed_to_others(host)


def check_token_kept(state: DaemonState) -> None:
    """Check, before anything is stopped, that a daemon with a token would have one again.

    :raises Failure: it would not: what was closed would be open to every user of this machine.
    """
    if state.http_token and not os.environ.get(WEB_TOKEN):
        raise Failure(
            f"the HTTP interface of daemon {state.name!r} has a token, and {WEB_TOKEN} is not set here",
            exit_code=REFUSED,
            hint=f"set {WEB_TOKEN} to the token; --drop-token restarts it without one, and then every user of this "
            "machine may use it",
        )
