"""What a command's exit code says: the first of these that applies to any of its prompts.

130 interrupted (143 by SIGTERM), 5 unknown outcome, 3 over budget, 2 bad input or plan, 4 any other failure, 0 done.
A command that checks ends with 6 when it could, and what it checked is not as it should be.
"""

from collections.abc import Sequence

from media_assets.errors import BudgetExceededError, ConfigurationError, MediaAssetsError, UnknownOutcomeError

DONE, BAD_INPUT, OTHER_FAILURE, UNKNOWN_OUTCOME, FINDINGS = 0, 2, 4, 5, 6

_IN_ORDER: tuple[tuple[type[MediaAssetsError], int], ...] = (
    (UnknownOutcomeError, UNKNOWN_OUTCOME),
    (BudgetExceededError, 3),
    (ConfigurationError, BAD_INPUT),
    (MediaAssetsError, OTHER_FAILURE),
)


def exit_code_of(errors: Sequence[MediaAssetsError]) -> int:
    """Return the exit code for what went wrong."""
    return next((code for kind, code in _IN_ORDER if any(isinstance(error, kind) for error in errors)), DONE)
