"""What can be bought: models, their parameters, limits and dated prices, as data.

A new model is a TOML entry; ``if model == …`` in code is a defect. How to talk to a provider is in ``providers/``,
what a request costs in ``pricing.py``. Here: ``spec.py`` is an entry, made of ``params.py``, ``limits.py`` and
``prices.py``; ``sizes.py`` and ``lengths.py`` say what a request's parameters make; ``reading.py`` reads the files.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from media_assets.catalog.limits import LengthRange
from media_assets.catalog.params import ParamSpec
from media_assets.catalog.prices import Meter, PriceRow
from media_assets.catalog.reading import read_folder, read_shipped
from media_assets.catalog.spec import ModelSpec, Recovery
from media_assets.errors import UnknownModelError
from media_assets.prompt import Step

__all__ = [
    "DEFAULT_ROUTES",
    "Catalog",
    "LengthRange",
    "Meter",
    "ModelSpec",
    "ParamSpec",
    "PriceRow",
    "Recovery",
    "load_catalog",
]

DEFAULT_ROUTES: Mapping[Step, tuple[str, ...]] = {
    Step.IMAGE: ("local:landscape",),
    Step.VIDEO: ("local:ken-burns",),
    Step.AUDIO: ("local:piper",),
    Step.MERGED: ("local:merge",),
}
"""What is asked, in order, where neither the prompt nor a setting says: free, without key or network."""


class Catalog:
    """Every model that can be used, by id."""

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self._specs = {spec.id: spec for spec in specs}

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self._specs.values())

    def get(self, model: str, *, step: Step | None = None) -> ModelSpec:
        """Return one model's entry.

        Raises:
            UnknownModelError: There is no such model, or it serves another step; the nearest names are offered.
        """
        spec = self._specs.get(model)
        of_step = [known.id for known in self if step in (None, known.step)]
        if spec is None:
            near = difflib.get_close_matches(model, of_step, n=3, cutoff=0.4)
            message = f"no model is called {model!r}. " + (
                f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(of_step)}."
            )
            raise UnknownModelError(message)
        if step is not None and spec.step is not step:
            message = (
                f"{model} makes the step {spec.step!s}, not {step!s}. For {step!s} there are: {', '.join(of_step)}."
            )
            raise UnknownModelError(message)
        return spec


def load_catalog(folder: Path | None = None) -> Catalog:
    """Return the catalog that ships with the package, and what a user's own files add to it.

    Args:
        folder: A folder with catalog files of the user's own. A model with a known id takes the shipped one's place:
            a user knows his own price.

    Raises:
        CatalogError: A file breaks the schema; every fault of all files is named, with file, line and field.
    """
    return Catalog([*read_shipped(), *(read_folder(folder) if folder is not None else ())])
