"""Handing films on as they end: one object or one table a prompt, in input order."""

from collections.abc import Callable, Sequence
from pathlib import Path

from media_assets.cli.film_report import film_report
from media_assets.cli.output import complain, print_json, print_text, say
from media_assets.cli.progress import Bars, Lines
from media_assets.errors import MediaAssetsError, StoppedError
from media_assets.film import Film, StepResult
from media_assets.left_open import LeftOpen
from media_assets.prompt import Prompt, Step
from media_assets.studio import Event


class Report:
    """Takes films in the order they end, and hands each on as soon as it and all before it are done."""

    def __init__(self, prompts: Sequence[Prompt], *, home: Path, json: bool) -> None:
        self.errors: list[MediaAssetsError] = []
        """Of the films that failed."""
        self.open: list[LeftOpen] = []
        """What is still open at providers, where the run was told to stop."""
        self.progress: Bars | Lines = Lines()
        self._prompts = prompts
        self._home = home
        self._json = json
        self._handed_on = 0
        self._made = 0
        self._waiting: dict[str, Film] = {}
        self._steps: dict[str, dict[Step, StepResult]] = {}

    def event(self, event: Event) -> None:
        """Note what is finished, and show it; called from any thread."""
        if event.result is not None:
            self._steps.setdefault(event.key, {})[event.step] = event.result
        self.progress.event(event)

    def add(self, film: Film) -> None:
        """Take a film that ended."""
        self._waiting[film.key] = film
        self._steps.pop(film.key, None)
        self._made += film.error is None
        self.progress.film_done(film.key)
        if len(self._prompts) > 1:
            self._hand_on_ready()

    def finish(self) -> None:
        """Hand on what is left: a single film comes after its bars, where people look last."""
        self._hand_on_ready()

    def end(self, error: MediaAssetsError) -> None:
        """Say what ended everything, and hand on the rest with it."""
        complain(error)
        self._hand_on_rest(lambda: error)

    def stop(self) -> None:
        """Hand on the rest after an interrupt, and say what is finished."""
        for key, steps in self._steps.items():
            say(f"{key}: finished and kept: {', '.join(str(step) for step in Step if step in steps)}")
        self._hand_on_rest(lambda: StoppedError("stopped before it was done; run again to go on."))
        for one in self.open:
            say(f"{one.prompt_key}: {one}")
        films = f"{self._made} of {len(self._prompts)} films finished"
        say(f"interrupted; {films}. Run again to go on: what is finished is free.")

    def _hand_on_ready(self) -> None:
        while self._handed_on < len(self._prompts):
            film = self._waiting.pop(self._prompts[self._handed_on].key, None)
            if film is None:
                return
            self._handed_on += 1
            self._hand_on(film, told=False)

    def _hand_on_rest(self, error: Callable[[], MediaAssetsError]) -> None:
        for prompt in self._prompts[self._handed_on :]:
            film = self._waiting.pop(prompt.key, None)
            unfinished = Film(key=prompt.key, steps=self._steps.get(prompt.key, {}), error=error())
            unfinished.open = [one for one in self.open if one.prompt_key == prompt.key]
            self._hand_on(film or unfinished, told=film is None)
        self._handed_on = len(self._prompts)

    def _hand_on(self, film: Film, *, told: bool) -> None:
        if film.error is not None:
            self.errors.append(film.error)
        if self._json:
            print_json(film.as_dict(home=self._home))
        elif film.error is None or film.steps:
            print_text(*film_report(film))
        if film.error is not None and not told:
            complain(film.error, about=film.key)
