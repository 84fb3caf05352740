"""pytest plugin: dranspose's own tests, with framegate in place of the Python ingesters.

Loaded with `-p framegate_peer`. It replaces `Ingester.run` and `.close` of the peer, so an instance of one of the peer's
protocol classes runs as the external `framegate ingester …`, with the settings of the instance as arguments and
environment. The sardana ingester is an HTTP application: there `uvicorn.Server.serve` is replaced.

Only these stay in Python: classes that the suite defines itself, and classes whose plugin file is missing.
Each start is recorded in the file FRAMEGATE_PEER_RECORD, one JSON object per line, and `run.py` compares the records
with `expected.toml`: an unexpected fallback fails the file.

Environment, set by `run.py`: FRAMEGATE_BIN (the command), FRAMEGATE_PLUGINS (the folder of its plugins), FRAMEGATE_PEER_RECORD,
FRAMEGATE_PEER_RULE (JSON, the file's entry in `expected.toml`), FRAMEGATE_PEER_PYTHON_ONLY (keep everything in Python: the
baseline).
"""

import asyncio
import json
import logging
import os
import re
import signal
import socket
import subprocess
import threading
import time
import types
from typing import Any

import pytest
import tests.utils
import uvicorn
import zmq
from dranspose.ingester import Ingester
from dranspose.ingesters import http_sardana, tcp_positioncap
from dranspose.worker import Worker

PLUGINS = {
    "ZmqPullSingleIngester": "stins",
    "ZmqPullEigerLegacyIngester": "eiger-legacy",
    "ZmqSubContrastIngester": "contrast",
    "ZmqSubXspressIngester": "xspress",
    "ZmqSubAlbaemIngester": "albaem",
    "ZmqSubPCAPIngester": "pcap",
    "ZmqSubLecroyIngester": "lecroy",
    "TcpPcapIngester": "pcap-raw",
    "HttpSardanaIngester": "sardana",
}
"""The peer's protocol classes, and the plugin of ours that does the job of each."""

SARDANA = "HttpSardanaIngester"
LEVEL = re.compile(r"\b(ERROR|WARN|INFO|DEBUG|TRACE)\b")
LEVELS = {"ERROR": logging.ERROR, "WARN": logging.WARNING, "INFO": logging.INFO}
STOP_SECONDS = 5.0
"""shutdown_grace is 1 s and the program ends within 1 s after it; the rest is for a busy machine."""

PARAMETER_SECONDS = 10.0
"""The peer's controller repeats what a service does not have every 2 s."""
WORKER_SECONDS = 5.0
BIND_SECONDS = 3.0
DETECTOR_SECONDS = 10.0
"""How long Python's TCP source waits for its simulator, see `open_connection`."""

log = logging.getLogger("framegate")
rule = json.loads(os.environ.get("FRAMEGATE_PEER_RULE", "{}"))
living: "list[External]" = []
python_run, python_close, python_serve = Ingester.run, Ingester.close, uvicorn.Server.serve
python_worker_run, python_worker_publish, zmq_bind = Worker.run, Worker.publish_config, zmq.Socket.bind
registering: set[int] = set()
"""Workers of this process that have started and not yet published themselves."""
peers_wait_for_controller = tests.utils.wait_for_controller


def plugin_of(cls: type) -> str | None:
    """The framegate plugin for a class, if it is a protocol class of the peer and the plugin's file exists."""
    plugin = PLUGINS.get(cls.__name__)
    if plugin is None or not cls.__module__.startswith("dranspose.ingesters."):
        return None
    file = f"libframegate_{plugin.replace('-', '_')}.so"
    return plugin if os.path.exists(os.path.join(os.environ["FRAMEGATE_PLUGINS"], file)) else None


def record(**what: Any) -> None:
    what["test"] = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
    with open(os.environ["FRAMEGATE_PEER_RECORD"], "a") as file:
        file.write(json.dumps(what) + "\n")


class External:
    """A running `framegate`. Its log lines become records of Python's logging, so the suite sees its errors."""

    def __init__(self, name: str, args: list[str], settings: dict[str, str]) -> None:
        ours = ("INGESTER_", "UPSTREAM_", "DUMP_PATH", "SERVICE_REDIS_DSN", "REDIS_URL", "BUILD_META_FILE", "FRAMEGATE_PEER")
        env = {k: v for k, v in os.environ.items() if not k.upper().startswith(ours)}
        env.update(settings, NO_COLOR="1", LOG_LEVEL="INFO", FRAMEGATE_PLUGIN_PATH=os.environ["FRAMEGATE_PLUGINS"],
                   FRAMEGATE_ALLOW_WRITABLE_PLUGINS="true")
        self.name = name
        self.stopped = False
        self.process = subprocess.Popen(
            [os.environ["FRAMEGATE_BIN"], *args], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        # A thread, not a task: some tests block the event loop for seconds, and a full pipe would block the program.
        self.pump = threading.Thread(target=self._forward_lines, daemon=True)
        self.pump.start()
        living.append(self)

    def _forward_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = LEVEL.search(line[:60])
            level = LEVELS.get(found[1], logging.DEBUG) if found else logging.WARNING
            if "panicked at" in line:
                level = logging.ERROR
            log.log(level, "%s: %s", self.name, line.rstrip())

    async def wait(self) -> None:
        """Waits until it ends. An end without a request is an error, regardless of the exit status."""
        while self.process.poll() is None:
            await asyncio.sleep(0.05)
        if not self.stopped:
            self.pump.join()
            log.error("%s ended by itself with status %s", self.name, self.process.returncode)

    async def stop(self) -> None:
        """Asks it to stop, as a service manager does. It must end in time, with status 0."""
        if self.stopped:
            return
        self.stopped = True
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self.process.poll() is None:
            log.error("%s did not end within %s s after SIGTERM", self.name, STOP_SECONDS)
            self.process.kill()
            self.process.wait()
        self.pump.join()
        if self.process.returncode != 0:
            log.error("%s ended with status %s", self.name, self.process.returncode)
        living.remove(self)


def settings_of(ingester: Ingester) -> dict[str, str]:
    """The instance's settings, as the environment variables that the peer documents."""
    settings = ingester._ingester_settings
    env = {
        "INGESTER_NAME": str(settings.ingester_name),
        "INGESTER_URL": str(settings.ingester_url),
        "SERVICE_REDIS_DSN": str(settings.redis_dsn),
    }
    if settings.dump_path:
        env["DUMP_PATH"] = str(settings.dump_path)
    if settings.build_meta_file:
        env["BUILD_META_FILE"] = str(settings.build_meta_file)
    if len(settings.ingester_streams) > 1:
        env["INGESTER_STREAMS"] = json.dumps(settings.ingester_streams)
    return env


async def worker_run(self: Worker) -> None:
    registering.add(id(self))
    await python_worker_run(self)


async def worker_publish(self: Worker) -> None:
    await python_worker_publish(self)
    registering.discard(id(self))


async def workers_first() -> None:
    """The suite relies on services being known in the order in which it starts them: it waits for an ingester's stream and then uses
    the workers. A program that is ready in 20 ms would overtake the workers in the test's event loop."""
    deadline = time.monotonic() + WORKER_SECONDS
    while registering and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


def patient_bind(self: zmq.Socket, address: str) -> Any:
    """Binds as soon as the last socket on the port is closed: simulators of the suite start while their predecessor still closes."""
    deadline = time.monotonic() + BIND_SECONDS
    while True:
        try:
            return zmq_bind(self, address)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


async def run(self: Ingester) -> None:
    cls = type(self)
    plugin = plugin_of(cls)
    if plugin is None or "FRAMEGATE_PEER_PYTHON_ONLY" in os.environ:
        record(how="python", cls=cls.__name__, waits_for=PLUGINS.get(cls.__name__))
        await python_run(self)
        return
    await workers_first()
    settings = self._ingester_settings
    args = ["ingester", "-c", cls.__name__]
    if len(settings.ingester_streams) == 1:
        args += ["-n", settings.ingester_streams[0]]
    if upstream := getattr(settings, "upstream_url", None):
        args += ["-u", str(upstream)]
    record(how="framegate", cls=cls.__name__, plugin=plugin, args=args)
    self._framegate = External(settings.ingester_name, args, settings_of(self))
    await self._framegate.wait()


async def close(self: Ingester) -> None:
    external = getattr(self, "_framegate", None)
    if external is None:
        await python_close(self)
        return
    await external.stop()
    await self.redis.aclose()
    await self.raw_redis.aclose()


async def serve(self: uvicorn.Server, sockets: Any = None) -> None:
    app = self.config.app
    plugin = plugin_of(http_sardana.HttpSardanaIngester)
    if app is not http_sardana.app or plugin is None or "FRAMEGATE_PEER_PYTHON_ONLY" in os.environ:
        await python_serve(self, sockets)
        return
    # uvicorn has put the test's environment file into os.environ, where the peer's application reads its settings.
    given = {k.upper(): v for k, v in os.environ.items()}
    names = ("INGESTER_NAME", "INGESTER_URL", "INGESTER_STREAMS", "DUMP_PATH", "SERVICE_REDIS_DSN", "REDIS_URL", "BUILD_META_FILE")
    host, port = self.config.host, self.config.port
    args = ["http_ingester", "-c", "dranspose.ingesters.http_sardana:app", "--host", host, "-p", str(port)]
    args += ["-n", json.loads(given["INGESTER_STREAMS"])[0]]
    record(how="framegate", cls=SARDANA, plugin=plugin, args=args)
    external = External("sardana", args, {name: given[name] for name in names if name in given})
    waiting = asyncio.create_task(external.wait())
    while not self.should_exit and not waiting.done():
        if not self.started:
            with socket.socket() as probe:
                self.started = probe.connect_ex((host, port)) == 0
        await asyncio.sleep(0.05)
    # A program that died has logged the reason already; the fixture that waits for `started` must not hang because of
    # it.
    self.started = True
    await external.stop()
    await waiting


async def open_connection(host: str, port: int) -> Any:
    """For Python's TCP source, where it is used: waits for the simulator, which the tests start slightly later than the scan.
    The source gives up at once, so some files would sometimes fail for a reason outside of framegate."""
    deadline = time.monotonic() + DETECTOR_SECONDS
    while True:
        try:
            return await asyncio.open_connection(host, port)
        except OSError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


async def wait_for_controller(*args: Any, **kwargs: Any) -> Any:
    """For a file with `wait_for_parameters`: the state of the system when every service has the same parameters."""
    deadline = time.monotonic() + PARAMETER_SECONDS
    while True:
        state = await peers_wait_for_controller(*args, **kwargs)
        hashes = {one.parameters_hash for one in (state, state.reducer, *state.workers, *state.ingesters) if one}
        if len(hashes) == 1 or time.monotonic() > deadline:
            return state
        await asyncio.sleep(0.1)


def pytest_configure() -> None:
    Ingester.run, Ingester.close, uvicorn.Server.serve = run, close, serve  # type: ignore[method-assign]
    Worker.run, Worker.publish_config, zmq.Socket.bind = worker_run, worker_publish, patient_bind  # type: ignore[method-assign]
    if rule.get("wait_for_parameters"):
        tests.utils.wait_for_controller = wait_for_controller
    tcp_positioncap.asyncio = types.SimpleNamespace(**{**vars(asyncio), "open_connection": open_connection})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    differs = {} if "FRAMEGATE_PEER_PYTHON_ONLY" in os.environ else rule.get("differs", {})
    for item in items:
        if reason := differs.get(item.name):
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


def pytest_sessionfinish() -> None:
    for external in list(living):
        record(how="left running", cls=external.name)
        external.process.kill()
        external.process.wait()
