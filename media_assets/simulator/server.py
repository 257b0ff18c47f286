"""Starting a simulator: as a blocking program, or in a thread of a test.

with running_simulator(SimulatorOptions(seed=1)) as simulator:
    os.environ.update(simulator.environment())
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from media_assets.errors import ConfigurationError, DefectError
from media_assets.simulator import control, downloads, elevenlabs, fal, openai, replicate
from media_assets.simulator.calls import OTHER
from media_assets.simulator.delivery import TRANSPORT
from media_assets.simulator.options import SimulatorOptions
from media_assets.simulator.world import Received, World

__all__ = ["Simulator", "SimulatorOptions", "build_app", "running_simulator", "serve"]

_ROOMS: Final = (replicate, fal, openai, elevenlabs, downloads, control)

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_GRACE_S: Final = 5
_START_S: Final = 10.0

_PATHS: Final = {
    "MEDIA_ASSETS_REPLICATE_BASE_URL": "/replicate/v1",
    "MEDIA_ASSETS_FAL_QUEUE_URL": "/fal-queue",
    "MEDIA_ASSETS_FAL_REST_URL": "/fal-rest",
    "MEDIA_ASSETS_FAL_API_URL": "/fal-api/v1",
    "MEDIA_ASSETS_OPENAI_BASE_URL": "/openai/v1",
    "MEDIA_ASSETS_ELEVENLABS_BASE_URL": "/elevenlabs",
}

_KEYS: Final = {
    "REPLICATE_API_TOKEN": "r8_simulated",
    "FAL_KEY": "simulated:key",
    "OPENAI_API_KEY": "sk-simulated",
    "ELEVENLABS_API_KEY": "simulated",
}
"""Of the right shape, and plainly no real ones."""


@dataclass(frozen=True)
class Simulator:
    """A simulator that runs."""

    url: str
    """Scheme, host and port."""
    world: World

    def environment(self) -> dict[str, str]:
        """Return the environment variables that send this package to the simulator, keys included."""
        return {**{name: self.url + path for name, path in _PATHS.items()}, **_KEYS}


def build_app(options: SimulatorOptions | World) -> Starlette:
    """Return the application; every provider's module adds its own routes.

    Args:
        options: What to start a new world with, or a world that is there already. The application needs the
            connections of this module's server: faults of the connection cannot be had from another.
    """
    world = options if isinstance(options, World) else World(options)

    async def unknown(request: Request) -> Response:
        world.count(Received(request.method, "(unknown)", "", OTHER))
        return JSONResponse({"detail": f"The simulator has no {request.method} {request.url.path}."}, 404)

    app = Starlette(routes=[route for room in _ROOMS for route in room.routes(world)])
    app.router.routes.append(Route("/{rest:path}", unknown, methods=_METHODS))
    app.state.world = world
    return app


def serve(options: SimulatorOptions, on_ready: Callable[[Simulator], None]) -> None:
    """Run a simulator until the process is interrupted; a signal then goes on to whoever handled it before.

    Args:
        options: How it behaves.
        on_ready: Called once, when requests are answered.

    Raises:
        ConfigurationError: The port is taken, or a fault rule is wrong.
    """
    with _opened(options, on_ready) as (server, listener, _):
        asyncio.run(server.serve(sockets=[listener]))


@contextmanager
def running_simulator(options: SimulatorOptions | None = None) -> Iterator[Simulator]:
    """Run a simulator in a thread of this process, until the block ends.

    Raises:
        ConfigurationError: As ``serve``.
    """
    ready = threading.Event()
    with _opened(options or SimulatorOptions(), lambda _: ready.set()) as (server, listener, simulator):
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="simulator")
        thread.start()
        try:
            if not ready.wait(_START_S):
                message = f"the simulator did not start within {_START_S} s."
                raise DefectError(message)
            yield simulator
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _opened(
    options: SimulatorOptions, on_ready: Callable[[Simulator], None]
) -> Iterator[tuple[uvicorn.Server, socket.socket, Simulator]]:
    world = World(options)
    try:
        with _listen(options) as listener:
            simulator = Simulator(_url(listener), world)
            yield _Server(simulator, on_ready), listener, simulator
    finally:
        world.close()


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it is ready and lets nobody wait for its end."""

    def __init__(self, simulator: Simulator, on_ready: Callable[[Simulator], None]) -> None:
        config = uvicorn.Config(
            build_app(simulator.world),
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        super().__init__(config)
        self._simulator = simulator
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready(self._simulator)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Whoever waits for a reply that is slow on purpose would hold the shutdown up.
        self._simulator.world.clock.stop()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """uvicorn's h11 protocol, which hands its transport to the application: see ``delivery.py``."""

    def connection_made(self, transport: Any) -> None:
        # asyncio leaves Nagle's algorithm on for a listener of ours, whose protocol number is 0: without this, every
        # second reply on a connection waits 40 ms for the client's delayed ACK (measured 2026-11-24).
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


def _listen(options: SimulatorOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        return socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        message = f"the simulator cannot listen on {options.host} port {options.port}: {error.strerror}."
        raise ConfigurationError(message) from error


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
