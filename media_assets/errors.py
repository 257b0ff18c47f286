"""Every error this package raises on purpose.

    MediaAssetsError                    .rerun .billed
    ├── ConfigurationError              nothing sent, nothing billed
    │   ├── PromptFileError             .problems: file, row and field of each
    │   ├── PlanError                   .problems: step and field of each
    │   ├── UnknownModelError
    │   └── CatalogError
    ├── BudgetExceededError             .scopes .may_pass: nothing sent; the prompt is deferred, not failed
    ├── PurchaseError                   .step .provider .model .request_key .prediction_id .http_status .at_most_usd
    │   ├── RequestRejectedError        refused before work began: not billed, a rerun changes nothing
    │   │   ├── KeyRejectedError        the key is missing, wrong, or may not do this
    │   │   ├── InsufficientCreditError the account is empty: the whole run stops asking this provider
    │   │   └── ModelGoneError          the provider does not have this model (any more)
    │   ├── ContentRejectedError        moderation, before or after the work; ``billed`` says which
    │   ├── RateLimitedError            refused for now: not billed, submit later   .retry_after_s
    │   ├── ProviderUnavailableError    never connected: not billed, submit later   .if_it_lasts
    │   ├── PredictionFailedError       accepted, then failed
    │   ├── PredictionTimeoutError      still running: billed, resume it
    │   ├── UnknownOutcomeError         sent, no answer: MAY be billed, ask a person
    │   ├── OutputLostError             succeeded, file gone: billed, ask before buying again
    │   ├── UnexpectedResponseError     the provider's answer is new to us
    │   └── PurchaseLostError           another process took this purchase over: resume
    ├── MediaError                      the file, not the provider
    │   ├── ProbeError
    │   ├── ConformError
    │   ├── JudgeError                  .verdict: the numbers that failed
    │   ├── SpeechError
    │   └── FfmpegError                 .command .exit_code .stderr_tail
    ├── StoppedError                    told to stop (Ctrl-C, Terminate); a rerun goes on
    ├── DefectError                     a fault of this package; the log has its traceback
    └── StorageError                    disk or database: nothing new was sent
        ├── LedgerError
        └── ArtifactError

Callers branch on ``rerun`` (what a rerun would do) and ``billed`` (whether money is gone), never on a list
of classes. A message says what was tried, what happened and what to do; it holds no key and no signed URL.
All arguments but the message are keyword-only, and every error survives pickling.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Self


class Rerun(StrEnum):
    """What running the same thing again would do."""

    NEVER = "never"
    """Nothing changes until a person changes something."""
    RESUBMIT = "resubmit"
    """A rerun submits again; nothing was billed."""
    RESUME = "resume"
    """A rerun goes on where this one stopped, free of charge."""
    ASK = "ask"
    """A person has to decide first."""


class Billed(StrEnum):
    """Whether money is gone."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class MediaAssetsError(Exception):
    """Anything this package raises on purpose."""

    rerun: Rerun = Rerun.NEVER
    billed: Billed = Billed.NO
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str, *, rerun: Rerun | None = None, billed: Billed | None = None) -> None:
        super().__init__(message)
        self.message = message
        if rerun is not None:
            self.rerun = rerun
        if billed is not None:
            self.billed = billed

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross processes (Dagster, worker children): keyword-only arguments need help to be pickled.
        return _rebuild, (type(self), self.message, self.__dict__.copy())

    @property
    def headline(self) -> str:
        """Return the first line of the message."""
        return self.message.partition("\n")[0]

    def as_dict(self) -> dict[str, str]:
        """Return the flat form used in ``--json`` and in metadata."""
        return {
            "class": type(self).__name__,
            "message": self.message,
            "rerun": str(self.rerun),
            "billed": str(self.billed),
        }


def _rebuild(cls: type[MediaAssetsError], message: str, state: dict[str, Any]) -> MediaAssetsError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class ConfigurationError(MediaAssetsError):
    """Something the user can mend; nothing was sent and nothing was billed."""


class _ProblemsError(ConfigurationError):
    """A configuration error that lists all its problems at once."""

    def __init__(self, message: str, *, problems: Sequence["Problem"]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)

    @classmethod
    def of(cls, headline: str, problems: Sequence["Problem"]) -> Self:
        """Build the error whose message is ``headline`` and one line a problem."""
        return cls("\n".join([headline, *(f"  {problem}" for problem in problems)]), problems=problems)


class Problem:
    """One thing that is wrong, and where."""

    def __init__(self, where: str, field: str, message: str) -> None:
        self.where = where
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.field, self.message) if part)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.where, self.field, self.message))

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"


class PromptFileError(_ProblemsError):
    """A prompt file cannot be used; ``problems`` has file and row, field and reason of each fault."""


class PlanError(_ProblemsError):
    """The chain cannot be made as asked; ``problems`` has step, field and reason of each fault."""


class UnknownModelError(ConfigurationError):
    """No such model in the catalog."""


class CatalogError(ConfigurationError):
    """A catalog file breaks its schema."""


class BudgetExceededError(MediaAssetsError):
    """A cap would be passed; nothing was sent, and nothing has failed: the prompt stays pending.

    The message shows the arithmetic and the setting's name.
    """

    def __init__(
        self,
        message: str,
        *,
        scopes: Sequence[str] = (),
        may_pass: bool = False,
        rerun: Rerun | None = None,
        billed: Billed | None = None,
    ) -> None:
        super().__init__(message, rerun=rerun, billed=billed)
        self.scopes = tuple(scopes)
        """The budgets that are short, for example ``day:2026-11-23``."""
        self.may_pass = may_pass
        """Whether only what others have reserved is in the way: settling it may leave enough."""


class PurchaseError(MediaAssetsError):
    """Something went wrong between a request and its artifact."""

    def __init__(
        self,
        message: str,
        *,
        step: str = "",
        provider: str = "",
        model: str = "",
        request_key: str = "",
        prediction_id: str | None = None,
        rerun: Rerun | None = None,
        billed: Billed | None = None,
    ) -> None:
        super().__init__(message, rerun=rerun, billed=billed)
        self.step = step
        self.provider = provider
        self.model = model
        self.request_key = request_key
        self.prediction_id = prediction_id
        self.http_status: int | None = None
        self.at_most_usd: Decimal | None = None
        """What the purchase may cost at most, where that is known."""


class RequestRejectedError(PurchaseError):
    """The provider refused the request before work began: not billed, and a rerun changes nothing."""


class KeyRejectedError(RequestRejectedError):
    """The key is missing or wrong, or its account may not do this."""


class InsufficientCreditError(RequestRejectedError):
    """The account is out of money; every further submission to this provider would fail alike."""


class ModelGoneError(RequestRejectedError):
    """The provider does not know this model, or no longer."""


class ContentRejectedError(PurchaseError):
    """The provider's moderation refused the request, or what was made of it; never retried unchanged."""


class RateLimitedError(PurchaseError):
    """The provider refused for now: not billed, submit later."""

    rerun = Rerun.RESUBMIT
    retry_after_s: float | None = None
    """Seconds the provider asked to wait, as far as it said."""


class ProviderUnavailableError(PurchaseError):
    """The call never reached the provider: not billed, submit later."""

    rerun = Rerun.RESUBMIT
    if_it_lasts: PurchaseError | None = None
    """What an answer to a free call means once it is the same however often it is asked for; None: nothing more."""


class PredictionFailedError(PurchaseError):
    """The provider accepted the request and then failed."""


class PredictionTimeoutError(PurchaseError):
    """The prediction still runs: it is paid for, and a rerun resumes it."""

    rerun = Rerun.RESUME
    billed = Billed.YES


class UnknownOutcomeError(PurchaseError):
    """The submission was sent and its outcome cannot be known: perhaps billed, a person decides."""

    rerun = Rerun.ASK
    billed = Billed.UNKNOWN
    is_last_word: bool = False
    """Whether its provider was asked, and will not know more later."""


class OutputLostError(PurchaseError):
    """A finished, paid output can no longer be had: buying it again is a person's decision."""

    rerun = Rerun.ASK
    billed = Billed.YES


class UnexpectedResponseError(PurchaseError):
    """The provider answered in a form this version does not know; the prediction id is kept."""

    rerun = Rerun.RESUME
    billed = Billed.UNKNOWN


class PurchaseLostError(PurchaseError):
    """Another process took this purchase over; whatever it makes is found by a rerun."""

    rerun = Rerun.RESUME


class MediaError(MediaAssetsError):
    """A file is at fault, not a provider."""


class ProbeError(MediaError):
    """A file is not the medium it should be, or cannot be read."""


class ConformError(MediaError):
    """A file cannot be made to fit the next model."""


class JudgeError(MediaError):
    """A file is not good enough to build on; ``verdict`` has the measured numbers."""

    def __init__(self, message: str, *, verdict: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.verdict = verdict or {}


class SpeechError(MediaError):
    """A text cannot be spoken."""


class FfmpegError(MediaError):
    """An ffmpeg call failed or passed its deadline."""

    def __init__(
        self,
        message: str,
        *,
        command: Sequence[str] = (),
        exit_code: int | None = None,
        stderr_tail: str = "",
    ) -> None:
        super().__init__(message)
        self.command = tuple(command)
        self.exit_code = exit_code
        self.stderr_tail = stderr_tail


class StoppedError(MediaAssetsError):
    """Local work was told to stop before it was done."""

    rerun = Rerun.RESUME


class DefectError(MediaAssetsError):
    """Something this package did not expect; said of one prompt, so that a batch goes on without it."""

    rerun = Rerun.RESUME
    billed = Billed.UNKNOWN

    @classmethod
    def of(cls, error: Exception) -> Self:
        """Build the error that tells of an unexpected one, whose traceback the caller logs."""
        return cls(f"{type(error).__name__}: {error}. This is a defect; please report it with the log's traceback.")


class StorageError(MediaAssetsError):
    """Disk or database is at fault; nothing new was sent."""

    rerun = Rerun.RESUME


class LedgerError(StorageError):
    """The ledger cannot be used."""


class ArtifactError(StorageError):
    """An artifact cannot be written or read."""
