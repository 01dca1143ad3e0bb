"""Give ``current_job()`` its questions to people: the methods that bodies call, with their types."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import UNSET, Struct

from asyncjobs.checks import refuse_unknown
from asyncjobs.runtime.body_calls import BodyCalls

if TYPE_CHECKING:
    from asyncjobs.runtime.asking import Asking

T = TypeVar("T")


class AskOptions(Struct, frozen=True, kw_only=True):
    """A question as a body asks it: see ``QuestionMethods.ask``."""

    question: Any
    key: Any = None
    choices: Any = None
    answer_type: Any = None
    reject_on: Any = ()
    timeout: Any = None
    default: Any = UNSET
    park: Any = False


def read_options(question: Any, options: Mapping[str, Any]) -> AskOptions:
    """Return a question with its options.

    :raises ConfigurationError: an option is unknown.
    """
    refuse_unknown("ask", options, AskOptions.__struct_fields__[1:], what="option")
    return AskOptions(question=question, **options)


class QuestionMethods(BodyCalls):
    """The questions of a body to people and other programs."""

    @property
    @abstractmethod
    def questions(self) -> Asking:
        """The questions of this attempt, for the engine: bodies call the methods below."""

    @overload
    async def ask(
        self,
        question: str,
        *,
        key: str,
        answer_type: type[T],
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> T: ...
    @overload
    async def ask(
        self,
        question: str,
        *,
        key: str,
        choices: Sequence[str],
        reject_on: Sequence[str] = (),
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> str: ...
    @overload
    async def ask(
        self,
        question: str,
        *,
        key: str,
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> bool: ...
    @overload
    async def ask(
        self,
        question: str,
        *,
        key: str,
        choices: Sequence[str] | None = None,
        answer_type: Any = None,
        reject_on: Sequence[str] = (),
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> Any: ...
    async def ask(self, question: str, **options: Any) -> Any:
        """Ask a question, and return the answer that ``JobProcessor.answer_job``, HTTP or the command line gives.

        The question is a gate of its own, ``<this id>/<key>``, and open at once. A later attempt finds it by its key,
        with its answer; a different wording or other options are ignored then. The body lends its slot while it waits,
        and its timeout is paused. When the job ends, its open questions are cancelled.

        :param key: names the question; unique among the keys of questions and children.
        :param choices: 1 to 50 texts, one of which is the answer. Without it and ``answer_type``, the answer is True.
        :param answer_type: the type of the answer: plain values, lists and dicts of these, records.
        :param reject_on: the choices that reject.
        :param timeout: seconds (or a timedelta) after which answers are refused.
        :param default: the answer once that time is over. Without one, ``AnswerTimeoutError`` is raised.
        :param park: end this attempt until there is an answer: nothing of it stays in memory. The body then runs again
            from its beginning, with its steps kept; ``ask`` returns the answer.
        :raises RejectedError: it was rejected. AnswerTimeoutError: it was not answered in time.
        :raises JobCancelledError: its gate was cancelled. A body that lets one of these three through fails, and is not
            retried automatically; ``retry_job`` asks the unanswered questions again.
        :raises ConfigurationError: an option cannot work. JobConflictError: a child has this key.
        """
        return await self.questions.ask(read_options(question, options))

    @overload
    def ask_sync(
        self,
        question: str,
        *,
        key: str,
        answer_type: type[T],
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> T: ...
    @overload
    def ask_sync(
        self,
        question: str,
        *,
        key: str,
        choices: Sequence[str],
        reject_on: Sequence[str] = (),
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> str: ...
    @overload
    def ask_sync(
        self,
        question: str,
        *,
        key: str,
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> bool: ...
    @overload
    def ask_sync(
        self,
        question: str,
        *,
        key: str,
        choices: Sequence[str] | None = None,
        answer_type: Any = None,
        reject_on: Sequence[str] = (),
        timeout: float | None = None,
        default: Any = UNSET,
        park: bool = False,
    ) -> Any: ...
    def ask_sync(self, question: str, **options: Any) -> Any:
        """``ask`` for plain functions in their thread.

        :raises JobStateError: called on the event loop, by an ``async def`` body: ``await ask(…)`` there.
        """
        self.refuse_on_loop("current_job().ask_sync(…)", "await current_job().ask(…)")
        return self.run_sync(self.questions.ask, read_options(question, options))
