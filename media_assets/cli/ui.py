"""``media-assets ui``: Dagster's webserver and daemon on the same state as every other command.

The only place besides ``media/_ffmpeg.py`` that starts processes; it starts Dagster's own programs and ends them.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from media_assets.cli.shipped import shipped
from media_assets.errors import ConfigurationError, PromptFileError
from media_assets.prompt_file import SUFFIXES, read_prompts
from media_assets.settings import STATE_FOLDER, find_home, find_project, load_settings
from media_assets.studio import open_studio

_DEFAULT_PORT = "3000"
_GRACE_S = 20.0


def run_ui(arguments: list[str]) -> int:
    """Pin ``prompts/``, make every known prompt a partition, and run Dagster until it is interrupted.

    Args:
        arguments: Passed on to ``dagster-webserver``, for example ``--port 3001``.

    Returns:
        The exit code.
    """
    root, home, environment = _place()
    _require_free_port(arguments)
    _pin_folder((find_project(Path.cwd()) or root) / "prompts", home)
    target = ["-w", "workspace.yaml"] if (root / "workspace.yaml").is_file() else ["-m", "media_assets.definitions"]
    subprocess.run([sys.executable, "-m", "media_assets.defs.known_prompts"], cwd=root, env=environment, check=True)
    commands = [
        [_program("dagster-webserver"), *target, *arguments],
        [_program("dagster-daemon"), "run", *target],
    ]
    return _run_together(commands, root, environment)


def run_dagster_sync(*, json: bool) -> int:
    """Report to Dagster what the ledger has and its event log lacks; return the exit code. Nothing is bought."""
    root, _, environment = _place()
    command = [sys.executable, "-m", "media_assets.defs.sync", *(["--json"] if json else [])]
    # Dagster's own code would be read as ours.
    return 1 if subprocess.run(command, cwd=root, env=environment, check=False).returncode else 0  # noqa: S603


def _place() -> tuple[Path, Path, dict[str, str]]:
    """Return where Dagster runs, the home, and the environment in which both are named."""
    home = find_home(load_settings(), Path.cwd())
    root = home.parent if home.name == STATE_FOLDER and (home.parent / "workspace.yaml").is_file() else home
    root.mkdir(parents=True, exist_ok=True)
    return root, home, {**os.environ, "MEDIA_ASSETS_HOME": str(home), "DAGSTER_HOME": str(_dagster_home(root))}


def _require_free_port(arguments: list[str]) -> None:
    """Say where the UI will be, or that something else is there already."""
    options = dict(pairwise(arguments))
    port = next((options[name] for name in ("--port", "-p") if name in options), _DEFAULT_PORT)
    host = next((options[name] for name in ("--host", "-h") if name in options), "127.0.0.1")
    try:
        with socket.create_server((host, int(port))):
            pass
    except (OSError, ValueError, OverflowError) as error:
        message = f"the UI cannot listen on {host}:{port}: {error}. Try another: --port 3001"
        raise ConfigurationError(message) from error
    sys.stderr.write(f"Dagster will be at http://{host}:{port}; Ctrl-C stops it.\n")


def _program(name: str) -> str:
    """Return a program of this very environment, whatever PATH says."""
    return str(Path(sys.executable).parent / name)


def _pin_folder(folder: Path, home: Path) -> None:
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    with open_studio(home, load_settings().studio_options()) as studio:
        for path in files:
            try:
                studio.ledger.prompts.pin(read_prompts(path), source=str(path))
            except PromptFileError as error:
                # A bad file must not keep the UI from opening for all the others.
                sys.stderr.write(f"{error}\n")


def _dagster_home(root: Path) -> Path:
    """Return DAGSTER_HOME, absolute: the user's own, else ``.dagster`` with the project's dagster.yaml in it."""
    own = os.environ.get("DAGSTER_HOME")
    if own:
        if not Path(own).is_absolute():
            message = f"DAGSTER_HOME is {own!r}; Dagster wants an absolute path."
            raise ConfigurationError(message)
        return Path(own)
    home = root / ".dagster"
    home.mkdir(exist_ok=True)
    configuration = root / "dagster.yaml"
    if configuration.is_file():
        shutil.copyfile(configuration, home / "dagster.yaml")
    else:
        (home / "dagster.yaml").write_bytes(shipped("dagster.yaml").read_bytes())
    return home


def _run_together(commands: list[list[str]], root: Path, environment: dict[str, str]) -> int:
    """Run the commands until one ends or we are interrupted; then end them all."""
    processes: list[subprocess.Popen[bytes]] = []
    interrupted: list[int] = []
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _frame: interrupted.append(caught))
    try:
        # Sessions of their own, so that Ctrl-C in the terminal reaches them once, through us.
        processes.extend(
            subprocess.Popen(command, cwd=root, env=environment, start_new_session=True)  # noqa: S603
            for command in commands
        )
        while not interrupted and all(process.poll() is None for process in processes):
            time.sleep(0.2)
        ended = [process.returncode for process in processes if process.poll() is not None]
    finally:
        _end(processes)
    if interrupted:
        return 128 + interrupted[0]
    # Dagster's own codes would be read as ours (3 is "over budget").
    return 1 if any(ended) else 0


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    ends_at = time.monotonic() + _GRACE_S
    for process in processes:
        try:
            process.wait(timeout=max(ends_at - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
