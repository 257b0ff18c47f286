"""Settings from the environment, and the one folder of state."""

from dataclasses import replace
from pathlib import Path

import platformdirs
import pytest

from media_assets.caps import Caps
from media_assets.catalog import DEFAULT_ROUTES
from media_assets.errors import ConfigurationError
from media_assets.prompt import Step
from media_assets.settings import Settings, find_home, load_settings
from media_assets.studio import StudioOptions


def test_defaults_need_no_environment() -> None:
    """A fresh clone makes a film with nothing set."""
    settings = load_settings()

    assert settings.home is None
    assert settings.ledger_url is None
    assert settings.audio_timing == "parallel"
    assert settings.caps() == Caps()
    assert {step: list(route) for step, route in settings.plan_settings().routes.items()} == {
        Step.IMAGE: ["local:landscape"],
        Step.VIDEO: ["local:ken-burns"],
        Step.AUDIO: ["local:piper"],
        Step.MERGED: ["local:merge"],
    }


def test_a_studio_without_settings_has_the_same_defaults() -> None:
    """The library reads no environment, so its defaults are written down a second time."""
    options, defaults = load_settings().studio_options(), StudioOptions()

    assert {step: tuple(route) for step, route in options.plan.routes.items()} == DEFAULT_ROUTES
    assert replace(options, plan=replace(options.plan, routes=DEFAULT_ROUTES)) == defaults


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("ROUTE_IMAGE", "fal:flux-dev, local:landscape ,", "route_image", ["fal:flux-dev", "local:landscape"]),
        ("ROUTE_AUDIO", "local:silence", "route_audio", ["local:silence"]),
        ("AUDIO_TIMING", "after_video", "audio_timing", "after_video"),
        ("MIN_IMAGE_SIDE_PX", "64", "min_image_side_px", 64),
        ("MIN_FREE_MB", "0", "min_free_mb", 0),
        ("MAX_COST_USD", "0.10", "max_cost_usd", "0.10"),
        ("MAX_COST_USD", "", "max_cost_usd", "1"),
        ("MAX_RUN_USD", "3", "max_run_usd", "3"),
        ("MAX_DAY_USD", " None ", "max_day_usd", "none"),
        ("FAL_MAX_DAY_USD", "2.50", "fal_max_day_usd", "2.50"),
        ("BUDGET_WAIT_S", "0", "budget_wait_s", 0.0),
        ("MAX_IN_FLIGHT", "1", "max_in_flight", 1),
        ("HOME", "/srv/films", "home", Path("/srv/films")),
        ("LEDGER_URL", "postgresql://host/films", "ledger_url", "postgresql://host/films"),
        ("LEASE_S", "30", "lease_s", 30.0),
        ("QUARANTINE_S", "0", "quarantine_s", 0.0),
        ("MAX_IN_FLIGHT", "", "max_in_flight", 8),
        ("HOME", "", "home", None),
    ],
)
def test_each_option_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    """The names are an interface; an empty variable is one that is not set."""
    monkeypatch.setenv(f"MEDIA_ASSETS_{name}", value)

    assert getattr(load_settings(), field) == expected


def test_keys_are_read_without_the_white_space_around_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """`FAL_KEY=$(cat file)` drops the line break at the end, an env file and a mounted secret do not."""
    monkeypatch.setenv("FAL_KEY", " id:secret\r\n")
    monkeypatch.setenv("OPENAI_API_KEY", " \n")
    monkeypatch.setenv("REPLICATE_API_TOKEN", "two\nlines")

    assert load_settings().keys() == {"fal": "id:secret", "replicate": "two\nlines"}


def test_every_option_says_what_it_is() -> None:
    """The documentation of options is made from these."""
    lines = Path(str(Settings.__module__).replace(".", "/")).name
    source = (Path(__file__).resolve().parents[1] / "media_assets" / f"{lines}.py").read_text(encoding="utf-8")

    for field in Settings.model_fields:
        declared = source.index(f"    {field}: ")
        following = source[declared:].split("\n", 2)[1].strip()
        assert following.startswith('"""'), field


def test_every_bad_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mending one variable a run is what this is there to prevent."""
    bad = {
        "ROUTE_IMAGE": " , ",
        "AUDIO_TIMING": "sideways",
        "MIN_IMAGE_SIDE_PX": "0",
        "MIN_FREE_MB": "-1",
        "MAX_COST_USD": "1,50",
        "MAX_IN_FLIGHT": "many",
    }
    for name, value in bad.items():
        monkeypatch.setenv(f"MEDIA_ASSETS_{name}", value)

    with pytest.raises(ConfigurationError) as caught:
        load_settings()

    lines = caught.value.message.splitlines()
    assert lines[0] == "the settings cannot be used:"
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == sorted(f"MEDIA_ASSETS_{name}" for name in bad)


@pytest.mark.parametrize("value", ["-1", "1e3", "NaN", "inf", "$1", "1.", ".5", "1_000"])
def test_a_cap_is_a_plain_amount(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A cap that reads as something else than was meant is no cap."""
    monkeypatch.setenv("MEDIA_ASSETS_MAX_COST_USD", value)

    with pytest.raises(ConfigurationError, match="MEDIA_ASSETS_MAX_COST_USD"):
        load_settings()


class TestHome:
    """Where the state is."""

    def test_the_setting_wins(self, tmp_path: Path) -> None:
        """A person who names a folder means it, wherever they stand."""
        (tmp_path / "workspace.yaml").touch()

        assert find_home(Settings(home=tmp_path / "elsewhere"), tmp_path) == tmp_path / "elsewhere"

    @pytest.mark.parametrize("below", [".", "prompts", "a/b/c"])
    def test_a_project_has_one_home_from_every_folder_in_it(self, tmp_path: Path, below: str) -> None:
        """Two working directories must never mean two ledgers: the second would buy everything again."""
        (tmp_path / "workspace.yaml").touch()
        start = tmp_path / below
        start.mkdir(parents=True, exist_ok=True)

        assert find_home(Settings(), start) == tmp_path / ".media_assets"

    def test_a_state_folder_marks_a_project_too(self, tmp_path: Path) -> None:
        """A user's own project may have no workspace.yaml."""
        (tmp_path / ".media_assets").mkdir()
        (tmp_path / "a" / "b").mkdir(parents=True)

        assert find_home(Settings(), tmp_path / "a" / "b") == tmp_path / ".media_assets"

    def test_the_nearest_project_counts(self, tmp_path: Path) -> None:
        """A clone inside another project is a project of its own."""
        (tmp_path / ".media_assets").mkdir()
        inner = tmp_path / "clone"
        (inner / "prompts").mkdir(parents=True)
        (inner / "workspace.yaml").touch()

        assert find_home(Settings(), inner / "prompts") == inner / ".media_assets"

    def test_names_of_another_kind_mark_nothing(self, tmp_path: Path) -> None:
        """A folder called workspace.yaml or a file called .media_assets is somebody else's."""
        (tmp_path / "workspace.yaml").touch()
        inner = tmp_path / "inner"
        (inner / "workspace.yaml").mkdir(parents=True)
        (inner / ".media_assets").touch()

        assert find_home(Settings(), inner) == tmp_path / ".media_assets"

    def test_outside_every_project_it_is_the_users_data_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An installed command must not leave state wherever it happens to be called."""
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

        found = find_home(Settings(), Path("/"))

        assert found == platformdirs.user_data_path("media_assets")
        assert found.is_absolute()

    def test_home_is_absolute_and_shorthand_is_understood(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """``~`` in a .env file is not expanded by any shell."""
        monkeypatch.setenv("HOME", "/home/somebody")

        assert find_home(Settings(home=Path("~/films")), Path("/")) == Path("/home/somebody/films")

    def test_an_unknown_users_home_is_a_configuration_error(self) -> None:
        """A traceback from pathlib tells nobody which variable to mend."""
        with pytest.raises(ConfigurationError, match="MEDIA_ASSETS_HOME"):
            find_home(Settings(home=Path("~no-such-user-here/films")), Path("/"))

    def test_a_relative_home_is_refused(self) -> None:
        """It would be another ledger in every working directory."""
        with pytest.raises(ConfigurationError, match="MEDIA_ASSETS_HOME is 'state'"):
            find_home(Settings(home=Path("state")), Path("/"))
