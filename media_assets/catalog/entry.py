"""What every entry of a catalog file is: frozen once read, and refused when it holds a field nobody knows."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Px = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
"""Width and height, pixels."""


class Entry(BaseModel):
    """A table of a catalog file. A misspelt field would otherwise silently leave its default in force."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
