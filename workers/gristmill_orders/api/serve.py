"""``gristmill orders serve``: the order service and its API in the foreground, until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gristmill.cli.signals import Terminated, terminate
from gristmill.config import Config
from gristmill.errors import ConfigError, NodeStartError, UsageError
from gristmill_orders.api.operations import Orders
from gristmill_orders.app import OrderService, data_folder
from gristmill_orders.config import ApiConfig, OrderNodeConfig, bootstrap
from gristmill_orders.world import World

if TYPE_CHECKING:
    import uvicorn

INTERRUPTED = 130
GRACE = 10.0
"""Seconds that open requests have to end once no more are taken in."""
_NEEDED = ("starlette", "uvicorn", "grpc", "grpc_health", "grpc_reflection")


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``gristmill orders serve``; None: what the configuration says."""

    http_port: str | None = None
    grpc_port: str | None = None
    workers: str | None = None
    config: Path | None = None


def serve(options: ServeOptions) -> int:
    """Serve until a signal comes or the node ends; give the exit code.

    Raises:
        GristmillError: a setting is wrong, a port is in use, or the node can't start or has failed.
    """
    signal.signal(signal.SIGTERM, terminate)  # until the loop takes it
    try:
        return _serve(options)
    except Terminated:
        return 0


def _serve(options: ServeOptions) -> int:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise UsageError(f"{' and '.join(missing)} is not installed; install gristmill[api]")
    overrides: dict[tuple[str, str], object] = {
        ("api", "http_port"): options.http_port,
        ("node", "grpc_port"): options.grpc_port,
        ("node", "workers"): options.workers,
    }
    config = bootstrap().load(options.config, overrides=overrides)
    api = config.section(ApiConfig)
    grpc_port = config.section(OrderNodeConfig).grpc_port
    if grpc_port == api.http_port:
        raise ConfigError(
            f"[api] http_port and [node] grpc_port are both {grpc_port}; give one another port"
        )
    with _listening(api.host, api.http_port, "[api] http_port") as listener:
        with _listening(api.host, grpc_port, "[node] grpc_port"):
            pass  # gRPC takes its port itself, later; that it can't is said before anything starts
        folder = data_folder(config)
        world = World.of(config, str(folder.absolute() / "ledger"))
        service = OrderService(config, world, folder / "journal")
        with service:
            code = asyncio.run(_Serving(service, config, listener).run())
        if service.node.exit_code and service.node.error is not None:
            raise service.node.error
        print("stopped", flush=True)
        return code


class _Serving:
    """The servers around a running service."""

    def __init__(self, service: OrderService, config: Config, listener: socket.socket) -> None:
        self._service = service
        self._host = config.section(ApiConfig).host
        self._grpc_port = config.section(OrderNodeConfig).grpc_port
        self._listener = listener
        self._orders = Orders(service)
        self._signal: int | None = None

    async def run(self) -> int:
        """Serve until a signal comes or the node ends; give the exit code."""
        loop = asyncio.get_running_loop()
        end = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number, end)
        threading.Thread(target=self._watch, args=(loop, end), daemon=True).start()
        from gristmill_orders.api.rpc import GrpcServer  # noqa: PLC0415 - an extra

        grpc = GrpcServer(self._orders, self._host, self._grpc_port)
        await grpc.start()
        server = _http_server(self._orders)
        serving = loop.create_task(server.serve(sockets=[self._listener]))
        serving.add_done_callback(lambda _: end.set())
        host, port = self._listener.getsockname()[:2]
        count = len(self._service.processors)
        print(f"{self._service.node.node_id} serves orders, {count} processors", flush=True)
        print(f"  HTTP  http://{host}:{port}/orders  (/openapi.json)", flush=True)
        print(f"  gRPC  {host}:{grpc.port}  (reflection, health)", flush=True)
        print("ready; Ctrl-C drains and stops", flush=True)
        await end.wait()
        if self._signal is not None:
            print("draining; once more stops at once", flush=True)
        self._orders.stopping = True
        server.should_exit = True
        await asyncio.gather(serving, grpc.stop(GRACE))
        return INTERRUPTED if self._signal == signal.SIGINT else 0

    def _on_signal(self, number: int, end: asyncio.Event) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
        end.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
        self._service.node.wait()
        with contextlib.suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(end.set)


def _http_server(orders: Orders) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 - an extra

    from gristmill_orders.api.http import http_app  # noqa: PLC0415 - an extra

    class Server(uvicorn.Server):
        """Leaves the signals to whoever runs it."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(
        uvicorn.Config(
            http_app(orders),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(GRACE),
        )
    )


@contextlib.contextmanager
def _listening(host: str, port: int, setting: str) -> Iterator[socket.socket]:
    """Take a port, before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # it names the address once more
        raise NodeStartError(
            f"can't listen on {host} port {port}: {why}; choose another {setting}"
        ) from None
    # Accepted sockets inherit it. asyncio sets it only where proto is given, which here it is not;
    # without, an answer in two parts waits 40 ms for a delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with listener:
        yield listener
