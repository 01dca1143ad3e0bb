"""Send requests: retry temporary failures, and raise other failures as errors of this package.

This is the only module that imports httpx.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import anyio
import httpx
from msgspec import DecodeError, Struct, ValidationError, json

from asyncjobs.client.backoff import pause_before
from asyncjobs.client.errors import build_error, parse_problem
from asyncjobs.core.codec import CorruptValueError, decode_value
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError, ConfigurationError
from asyncjobs.plurals import counted
from asyncjobs.safe_logging import SafeLogger

T = TypeVar("T")
logger = SafeLogger("asyncjobs.client")

_AT_A_TIME = 32
"""Concurrent requests of one client, not counting streams."""
_PASSING = frozenset({429, 502, 503, 504})
_NOT_DONE = frozenset({429, 503})
"""Codes with which the server reports that it did nothing. Others come from proxies, which do not know."""
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LONGEST_ASKED_PAUSE = 60.0
_LONGEST_CONNECT = 5.0
"""Seconds to connect. An attempt that takes longer was started while the host was unavailable, and will not succeed."""


class Answer(Struct, frozen=True):
    """A response. ``repeated``: an earlier try, whose response was lost, may have been executed."""

    response: httpx.Response
    repeated: bool


class _PassingFailure(Struct, frozen=True):
    """A request that failed temporarily. ``not_done``: it was certainly not executed."""

    text: str
    not_done: bool
    asked_pause: float = 0.0
    cause: httpx.RequestError | None = None


class Transport:
    """HTTP to one app.

    :param http: a client to use, which ``aclose`` leaves open; None: create one.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None,
        http: httpx.AsyncClient | None,
        *,
        timeout: float | None,
        tries: int,
        max_silence: float,
    ) -> None:
        self._base = _checked_base(base_url)
        self.tries = tries
        self._headers = {"x-asyncjobs": "1"}  # proves that a change does not come from a page of another site
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        if http is not None and not isinstance(http, httpx.AsyncClient):
            raise ConfigurationError("http_client", http, allowed="an httpx.AsyncClient")
        self._owned = http is None
        # Requests queue here, not in the pool, because streams hold their connections for as long as they are open.
        self._turns = anyio.CapacityLimiter(_AT_A_TIME)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=_AT_A_TIME)
        self._http = http or httpx.AsyncClient(limits=limits)
        seconds = timeout or 30.0
        connect = min(seconds, _LONGEST_CONNECT)
        own_timeout = httpx.Timeout(seconds, connect=connect, pool=None)
        self._timeout = None if http is not None and timeout is None else own_timeout
        self._stream_timeout = httpx.Timeout(seconds, connect=connect, read=max_silence, pool=None)
        self._closed = False

    @property
    def url(self) -> str:
        """Return the URL of the app for messages, without credentials."""
        return str(httpx.URL(self._base).copy_with(userinfo=b""))

    async def aclose(self) -> None:
        """Close all connections, also those of open streams."""
        self._closed = True
        if self._owned:
            await self._http.aclose()

    def check_open(self) -> None:
        """Check that the client was not closed.

        :raises BackendClosedError: it was.
        """
        if self._closed:
            raise BackendClosedError("this JobsClient is closed", hint="use it inside 'async with JobsClient(…)'")

    # -- requests

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
        request: Any = None,
        check: bool = True,
    ) -> Answer:
        """Send a request and return the response; raise the error that it reports, if ``check``.

        :param repeat: whether to repeat the request if it is unknown whether it was executed.
        :param request: the value of ``BackendConnectionError.request``.
        :raises BackendConnectionError: ``tries`` requests failed temporarily.
        """
        options: dict[str, Any] = {"params": params, "headers": {**self._headers, "accept": "application/json"}}
        options["headers"].update(headers or {})
        if body is not None:
            options["headers"]["content-type"] = "application/json"
            options["content"] = json.encode(body)
        if self._timeout is not None:
            options["timeout"] = self._timeout
        repeated = False
        attempt = 0
        while True:
            attempt += 1
            sent = await self._send(method, path, options)
            if isinstance(sent, httpx.Response):
                answer = Answer(sent, repeated)
                if check:
                    self.check(answer)
                return answer
            repeated = repeated or not sent.not_done
            if attempt >= self.tries or (repeated and not repeat):
                raise self._unreachable(path, sent.text, attempt, request, unsure=repeated) from sent.cause
            pause = max(pause_before(attempt), sent.asked_pause)
            logger.debug("%s %s%s: %s; retrying in %.1f s", method, self.url, path, sent.text, pause)
            await anyio.sleep(pause)

    async def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response | _PassingFailure:
        """Send a request once. Return the response, or a temporary failure."""
        self.check_open()
        try:
            async with self._turns:
                response = await self._http.request(method, self._base + path, **options)
        except httpx.RequestError as error:
            self.check_open()
            return _PassingFailure(_describe(error), isinstance(error, _NEVER_SENT), cause=error)
        if response.status_code not in _PASSING:
            return response
        return _PassingFailure(_detail(response), response.status_code in _NOT_DONE, _retry_after(response))

    async def get(self, path: str, kind: type[T], params: Mapping[str, Any] | None = None) -> T:
        """Request a resource and decode it as ``kind``."""
        return self.read(await self.ask("GET", path, params=params), kind)

    def read(self, answer: Answer, kind: type[T]) -> T:
        """Decode a response as ``kind``."""
        try:
            return json.decode(answer.response.content, type=kind)
        except (DecodeError, ValidationError, UnicodeDecodeError) as error:
            raise self._foreign(f"the response cannot be decoded: {error}") from None

    def read_value(self, answer: Answer) -> Any:
        """Decode a response that is a stored value; nothing is imported or run."""
        try:
            return decode_value(answer.response.content)
        except CorruptValueError as error:
            raise self._foreign(f"the response cannot be decoded: {error}") from None

    # -- streams

    async def open(self, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response | None:
        """Open an event stream, once. Return None if no event will follow; the caller closes the response.

        :raises BackendConnectionError: the request failed temporarily.
        """
        self.check_open()
        # Proxies must not buffer the stream in order to compress it.
        fixed = {"accept": "text/event-stream", "accept-encoding": "identity", "cache-control": "no-store"}
        request = self._http.build_request(
            "GET",
            self._base + path,
            params=params,
            headers={**self._headers, **fixed, **headers},
            timeout=self._stream_timeout,
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.RequestError as error:
            self.check_open()
            raise self._unreachable(path, _describe(error), 1) from error
        try:
            if response.status_code == 200:
                kind = response.headers.get("content-type", "")
                if kind.partition(";")[0].strip().lower() != "text/event-stream":
                    raise self._foreign(f"{path} answered with {kind or 'no content type'}, not with an event stream")
                return response
            if response.status_code != 204:
                await response.aread()
                if response.status_code in _PASSING:
                    raise self._unreachable(path, _detail(response), 1)
                self.check(Answer(response, repeated=False))
        except httpx.RequestError as error:
            await response.aclose()
            raise self._unreachable(path, _describe(error), 1) from error
        except BaseException:
            with anyio.CancelScope(shield=True):
                await response.aclose()
            raise
        await response.aclose()
        return None

    async def chunks(self, response: httpx.Response) -> AsyncGenerator[bytes]:
        """Yield the chunks of a stream.

        :raises BackendConnectionError: the connection was lost, or was silent for ``max_silence`` seconds.
        """
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.RequestError as error:
            self.check_open()
            path = response.url.path.removeprefix(httpx.URL(self.url).path.rstrip("/"))
            raise self._unreachable(path, _describe(error), 1) from error

    # -- errors

    def check(self, answer: Answer) -> None:
        """Raise the error that a response reports, if any."""
        response = answer.response
        status = response.status_code
        if 200 <= status < 300:
            return
        problem = parse_problem(response.content)
        if problem is not None:
            raise build_error(problem, status)
        if response.is_redirect:
            target = response.headers["location"]
            raise ConfigurationError(
                "base_url", problem=f"{self.url} redirects to {target} ({status})", hint="use the URL it redirects to"
            )
        raise self._foreign(f"{response.url.path} answered {status}, but not as an asyncjobs server")

    def _foreign(self, what: str) -> BackendError:
        return BackendError(
            f"{self.url}: {what}",
            hint="base_url is where asgi_app() is mounted, such as http://127.0.0.1:8000/jobs; "
            "a proxy in front of it may have answered",
        )

    def _unreachable(
        self, path: str, failure: str, tries: int, request: Any = None, *, unsure: bool = False
    ) -> BackendConnectionError:
        times = "" if tries == 1 else f" in {counted(tries, 'try', 'tries')}"
        known = "; the request may have been carried out" if unsure and request is not None else ""
        hint = "check that the server is running, then try again"
        if request is not None:
            hint = "the request is in .request; resubmitting it with the same id does not run it twice"
        return BackendConnectionError(
            f"{self.url}{path} cannot be reached{times}: {failure}{known}",
            request=request,
            tries=tries,
            hint=hint,
        )


def _checked_base(base_url: str) -> str:
    allowed = "an http:// or https:// URL without a query, such as http://127.0.0.1:8000/jobs"
    raw: object = base_url
    if not isinstance(raw, (str, httpx.URL)):
        raise ConfigurationError("base_url", raw, allowed=allowed)
    try:
        url = httpx.URL(raw)
    except httpx.InvalidURL as error:
        raise ConfigurationError("base_url", str(raw), allowed=f"{allowed} ({error})") from None
    if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
        raise ConfigurationError("base_url", str(raw), allowed=allowed)
    return str(url).rstrip("/")


def _describe(error: httpx.RequestError) -> str:
    """Return the message of an error; those of httpx may be empty."""
    words = str(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _detail(response: httpx.Response) -> str:
    problem = parse_problem(response.content)
    text = f"it answered {response.status_code}"
    return f"{text} ({problem.detail})" if problem is not None else text


def _retry_after(response: httpx.Response) -> float:
    """Return the seconds that the server asks to wait."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_ASKED_PAUSE)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return 0.0
    return max(0.0, min(seconds, _LONGEST_ASKED_PAUSE))
