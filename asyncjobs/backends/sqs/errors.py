"""Translate the errors of botocore, in one place: which may pass by themselves, and which fix the others need."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError, ConfigurationError

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
"""Codes of answers to credentials that were good: botocore's chain renews them, or whoever rotates them."""
_PASSING = EXPIRED | {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "KMSThrottlingException",
    "KmsThrottled",
    "LimitExceededException",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "AWS.SimpleQueueService.QueueDeletedRecently",
    "QueueDeletedRecently",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ResourceInUseException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
}
_CLOCK = frozenset({"InvalidSignatureException", "RequestTimeTooSkewed", "RequestExpired", "SignatureDoesNotMatch"})
DENIED = frozenset({"AccessDenied", "AccessDeniedException", "KMSAccessDeniedException", "KmsAccessDenied"})
NOT_PERMITTED = "permission"
"""``BackendError.code`` of a call that the policy of this process does not permit."""
TOO_BIG = "too-big"
"""``BackendError.code`` of what no store would ever take: an outcome that has it becomes a failure."""
_TOO_LARGE = ("size has exceeded the maximum", "size to update has exceeded the maximum")
"""What DynamoDB says of a write after which an item would have more than 400 kB."""
REGION = "asyncjobs.region"
"""What ``clients`` adds to the metadata of an answer that is an error: the region that was asked."""
LOGGED = "asyncjobs_logged"
"""What ``denials`` and ``outages`` add to the metadata of an answer that was logged, now or before. An error without an
answer has it as an attribute."""
CUT_OFF = "asyncjobs_cut_off"
"""The attribute that ``outages`` gives to errors of calls that were under way when the store was closed."""
RENEWED = "asyncjobs_renewed"
"""What ``credentials`` adds to those of an answer about credentials that were renewed meanwhile."""
SERVICES = {"dynamodb": "DynamoDB", "sqs": "SQS", "s3": "S3"}
_UNKNOWN_KEY = frozenset(
    {"InvalidAccessKeyId", "InvalidClientTokenId", "MissingAuthenticationToken", "UnrecognizedClientException"}
)
REFUSED_KEYS = EXPIRED | _UNKNOWN_KEY
"""Codes of answers that refuse credentials: new ones may be there by now."""
_MISSING = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
        "TableNotFoundException",
    }
)
MADE_BY = "'asyncjobs aws init' makes what is missing; SQSConfig(create=True) does, too, for tests"
PERMITTED_BY = "'asyncjobs aws policy --for worker' (or submitter, reader) prints the smallest policy that permits it"
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role"


def code_of(error: Exception) -> str:
    """Return the code of an answer that is an error; empty if there was no answer."""
    answer: Any = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def is_logged(error: Exception) -> bool:
    """Return whether an error of botocore was logged by what looks at all calls of a store."""
    answer: Any = getattr(error, "response", None) or {}
    return LOGGED in answer.get("ResponseMetadata", {}) or getattr(error, LOGGED, False) is True


def is_connection_lost(error: Exception) -> bool:
    """Return whether an error says that there was no answer, and not why a call was not even sent."""
    import botocore.exceptions as errors

    return isinstance(error, (errors.ConnectionError, errors.HTTPClientError, OSError))


@contextmanager
def translated(what: str) -> Generator[None]:
    """Raise the errors of botocore as those of this package.

    :param what: the call, such as ``"DynamoDB GetItem on table 'asyncjobs'"``.
    """
    import botocore.exceptions as errors

    try:
        yield
    except errors.ClientError as error:
        raise _marked(_of_answer(what, error), error) from error
    except (errors.BotoCoreError, OSError) as error:
        if getattr(error, CUT_OFF, False) is True:
            raise BackendClosedError from error
        raise _marked(_without_answer(what, error), error) from error


def _marked(error: Exception, cause: Exception) -> Exception:
    if isinstance(error, BackendError):
        error.logged = is_logged(cause)
    return error


def _of_answer(what: str, error: Any) -> Exception:
    """Return the error for an answer: it passes, or is about the clock, a permission, the key, or what is missing."""
    code = code_of(error)
    message = str(error.response.get("Error", {}).get("Message", "")) or code
    about = error.response.get("ResponseMetadata", {})
    if code in EXPIRED:
        return BackendConnectionError(
            f"{what}: the credentials have expired ({code}): {message}",
            hint="renew them; this process goes on by itself when it finds new ones",
        )
    if code in _PASSING or about.get("HTTPStatusCode", 0) >= 500:
        return BackendConnectionError(f"{what} failed for the moment: {code}: {message}")
    if code in _CLOCK:
        return BackendError(
            f"{what} was refused because of its signature ({code}): {message}{_clock(about)}",
            hint="set the clock of this host (NTP), and check the secret key",
        )
    if code in DENIED:
        denied = BackendError(f"{what} is not permitted: {message}", hint=PERMITTED_BY)
        denied.code = NOT_PERMITTED
        return denied
    if code in _UNKNOWN_KEY:
        return BackendError(f"{what}: AWS does not know this access key: {message}", hint=_CREDENTIALS)
    if code in _MISSING:
        region = f" in {about[REGION]}" if about.get(REGION) else ""
        return BackendError(f"{what}: it does not exist{region} ({code})", hint=MADE_BY)
    return failure(what, code, message)


def failure(what: str, code: str, message: str) -> BackendError:
    """Return the error of a call that cannot succeed, or of a part of a transaction."""
    if any(text in message for text in _TOO_LARGE):
        return _too_large(what)
    return BackendError(f"{what} failed: {code}: {message}")


def _too_large(what: str) -> BackendError:
    """Return the error about a write after which an item would be larger than DynamoDB takes."""
    error = BackendError(
        f"{what}: an item would have more than 400 KiB, the most that DynamoDB takes",
        hint="store large texts elsewhere, and pass where they are",
    )
    error.code = TOO_BIG
    return error


def _clock(about: Any) -> str:
    """Say how far the clock of this host is from that of AWS, by the ``Date`` of its answer."""
    date = about.get("HTTPHeaders", {}).get("date")
    try:
        seconds = round(time.time() - parsedate_to_datetime(date).timestamp())
    except (TypeError, ValueError):
        return ""
    if abs(seconds) < 2:
        return "; the clock of this host is right"
    return f"; the clock of this host is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} that of AWS"


def _without_answer(what: str, error: Exception) -> Exception:
    """Return the error of a call without an answer: no credentials, no region, no connection, a wrong argument."""
    import botocore.exceptions as errors

    if isinstance(error, (errors.NoCredentialsError, errors.PartialCredentialsError, errors.ProfileNotFound)):
        problem = f"{what}: no credentials for AWS were found ({error})"
        return ConfigurationError("credentials", None, problem=problem, hint=_CREDENTIALS)
    if isinstance(error, errors.NoRegionError):
        hint = "SQSConfig(region=…), or AWS_DEFAULT_REGION"
        return ConfigurationError("SQSConfig.region", None, problem=f"{what}: no region is set", hint=hint)
    if isinstance(error, _providers()):
        return BackendConnectionError(f"{what}: credentials for AWS could not be renewed: {error}", hint=_CREDENTIALS)
    if isinstance(error, (errors.ReadTimeoutError, errors.ResponseStreamingError)):
        # It took 10 seconds each time: enough for a caller that waits.
        return BackendConnectionError(f"{what} was not answered in time: {error}", transient=False)
    if is_connection_lost(error):
        return BackendConnectionError(f"{what} could not be reached: {error}")
    return BackendError(f"{what} failed: {error}")


def _providers() -> tuple[type[Exception], ...]:
    """Return the errors of where credentials come from: they may be away for a while."""
    import botocore.exceptions as errors

    return (
        errors.CredentialRetrievalError,
        errors.MetadataRetrievalError,
        errors.SSOError,
        errors.TokenRetrievalError,
    )
