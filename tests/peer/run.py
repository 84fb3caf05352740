"""Runs dranspose's own test suite with framegate as its ingesters, and compares the results with `expected.toml`.

    run.py SUITE BIN PLUGINS LOGS [--python] [--jobs N] [FILE …]

SUITE is the unpacked source distribution, BIN the built `framegate`, PLUGINS the folder of its plugins, LOGS the folder for the
output of each file. `tests/run peer` prepares them and calls this program. `--python` keeps the peer's own ingesters: the baseline.

The files use fixed ports. So each runs in its own process (`--alone`), where the system allows it in its own network namespace,
with its own Redis: three at a time, separate from the machine's services. Elsewhere they run one after the other.
"""

import argparse
import collections
import concurrent.futures
import ctypes
import fcntl
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).parent
FIXED_PORTS = [6379, 5000, 5001, 5002, 9999, 9998, 9997, 9996, 5556, 8889, 10000, 10001, 10010, 10011, 10012, 10013]
FILE_SECONDS = 300
TEST_SECONDS = 90

# A race of the peer's own that any file can hit: a simulator binds its port again while the previous one still closes.
# A file that fails with this race, with one of its own `races`, hangs without framegate, or stops too slowly, is repeated once. After any
# other failure it is not.
RACE = r"Address already in use"

# Prefix of the last line of a file's report, which this program reads.
COUNTED = "counted: "

children: list[subprocess.Popen] = []
lock = threading.Lock()
stopping = threading.Event()


def own_network() -> bool:
    """Moves this process into a new network namespace that has only loopback. False: not allowed here."""
    new_user, new_net = 0x10000000, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(new_net) != 0:
        if libc.unshare(new_user | new_net) != 0:
            return False
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket() as any_socket:
        request = bytearray(struct.pack("16sH22x", b"lo", 0))
        fcntl.ioctl(any_socket, get_flags, request)
        flags = struct.unpack_from("H", request, 16)[0]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH22x", b"lo", flags | up))
    return True


def may_be_apart() -> bool:
    """Whether a process may have its own network namespace here."""
    child = os.fork()
    if child == 0:
        os._exit(not own_network())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def ports_in_use() -> list[str]:
    """Which of the suite's fixed ports are in use, and by which process."""
    taken = []
    for port in FIXED_PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                who = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True).stdout
                taken.append(f"port {port}: {' '.join(who.split()) or 'by another user'}")
    return taken


class Redis:
    """A separate redis-server on the port that the suite expects."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="framegate-peer-redis-")
        options = ["--port", "6379", "--bind", "127.0.0.1", "--save", "", "--dir", self.folder.name]
        self.process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while self.command("PING") != "+PONG":
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit("redis-server did not start on port 6379")
            time.sleep(0.05)

    def command(self, text: str) -> str | None:
        try:
            with socket.create_connection(("127.0.0.1", 6379), timeout=5) as connection:
                connection.sendall(f"{text}\r\n".encode())
                return connection.makefile().readline().strip()
        except OSError:
            return None

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Outcome:
    """Result of one run of one file."""

    def __init__(self, status: int | None, output: str, starts: list[dict]) -> None:
        self.status, self.output, self.starts = status, output, starts
        lines = re.findall(r"^=+ (.*\d.* in .*) =+$", output, re.MULTILINE)
        self.summary = lines[-1] if lines else "no summary" if status is not None else f"killed after {FILE_SECONDS} s"
        self.framegate = {s["plugin"]: 0 for s in starts if s["how"] == "framegate"}
        for start in starts:
            if start["how"] == "framegate":
                self.framegate[start["plugin"]] += 1
        self.python = {s["cls"] for s in starts if s["how"] == "python" and not s["waits_for"]}
        self.waits_for = {s["waits_for"] for s in starts if s["how"] == "python" and s["waits_for"]}
        self.left = [s["cls"] for s in starts if s["how"] == "left running"]


def run_file(args: argparse.Namespace, name: str, rule: dict, again: str = "") -> Outcome:
    record = args.logs / f"{name}{again}.starts"
    record.unlink(missing_ok=True)
    env = os.environ | {
        "PYTHONPATH": str(HERE),
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "FRAMEGATE_BIN": str(args.bin),
        "FRAMEGATE_PLUGINS": str(args.plugins),
        "FRAMEGATE_PEER_RECORD": str(record),
        "FRAMEGATE_PEER_RULE": json.dumps(rule),
        "MPLBACKEND": "agg",
    }
    if args.python:
        env["FRAMEGATE_PEER_PYTHON_ONLY"] = "1"
    options = ["-p", "framegate_peer", "-rfEx", "--tb=short", f"--timeout={TEST_SECONDS}", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, f"tests/{name}"]
    log = args.logs / f"{name}{again}.log"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=args.suite, env=env, stdout=out, stderr=out, start_new_session=True)
        try:
            status = process.wait(FILE_SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    starts = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    return Outcome(status, log.read_text(errors="replace"), starts)


def differences(expected: dict, outcome: Outcome) -> list[str]:
    """Differences from `expected.toml`, each as a sentence."""
    wrong = []
    if outcome.status != 0:
        wrong.append("failed" if outcome.status is not None else f"still running after {FILE_SECONDS} s")
    for plugin in sorted(set(expected.get("waits_for", [])) ^ outcome.waits_for):
        if plugin in outcome.waits_for:
            wrong.append(f"plugin {plugin} was not found, Python's ingester took its place, and the file is not listed as waiting for it")
        elif plugin in outcome.framegate:
            wrong.append(f"is listed as waiting for plugin {plugin}, which exists now: move it to `framegate`")
        else:
            wrong.append(f"is listed as waiting for plugin {plugin}, but never used it")
    for plugin in sorted(set(expected.get("framegate", [])) ^ set(outcome.framegate)):
        if plugin in outcome.framegate:
            wrong.append(f"framegate ran as {plugin}, which is not listed")
        elif plugin not in outcome.waits_for:
            wrong.append(f"framegate was never started as {plugin}")
    for cls in sorted(set(expected.get("python", {})) ^ outcome.python):
        wrong.append(f"class {cls} ran in Python, unlisted" if cls in outcome.python else f"class {cls} never ran in Python")
    wrong += [f"{name} was still running at the end" for name in outcome.left]
    return wrong


def is_race(rule: dict, outcome: Outcome) -> bool:
    told = outcome.output + outcome.summary
    races = [RACE, *rule.get("races", [])]
    own = any(re.search(race, told) for race in races) or hangs_without_us(told) or is_slow_to_stop(outcome)
    return outcome.status != 0 and own


def hangs_without_us(told: str) -> bool:
    """Whether the peer's services wait for each other after a test has passed and every framegate has ended. A framegate that still ran
    would be visible: the thread that reads its output (`framegate_peer.py`) would be among the stacks."""
    return bool(re.search(r"ERROR at teardown of .*Failed: Timeout \(>.* Stack of ", told, re.DOTALL)) and "_forward_lines" not in told


def is_slow_to_stop(outcome: Outcome) -> bool:
    """Whether every test has passed, and one of the peer's own tasks then took more than its time to end, or met its connection to Redis
    closed, which its tests count as an error."""
    own = re.search(r"cancel and wait task raised network:(Timeout|Connection)Error", outcome.output)
    return " failed" not in outcome.summary and own is not None


def starts_an_ingester(file: pathlib.Path) -> bool:
    """Whether the text of a file creates an instance of an ingester, or runs the application that is an ingester."""
    return re.search(r"\b[A-Z]\w*Ingester\($|\bawait http_ingester\(", file.read_text(), re.MULTILINE) is not None


def stopped(*_: object) -> None:
    stopping.set()
    for process in children:
        process.terminate()
    sys.exit(143)


def main() -> int:
    # A signal also ends the child processes.
    signal.signal(signal.SIGTERM, stopped)
    parser = argparse.ArgumentParser()
    for folder in ("suite", "bin", "plugins", "logs"):
        parser.add_argument(folder, type=lambda text: pathlib.Path(text).absolute())
    parser.add_argument("--python", action="store_true")
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*")
    args = parser.parse_intermixed_args()
    args.logs.mkdir(parents=True, exist_ok=True)
    expected = tomllib.loads((HERE / "expected.toml").read_text())
    starts_none = expected.pop("starts_no_ingester")

    present = sorted(path.name for path in (args.suite / "tests").glob("test_*.py"))
    unknown = set(present) ^ (set(expected) | set(starts_none))
    if unknown:
        print(f"expected.toml and the suite name different files: {', '.join(sorted(unknown))}")
        return 1
    for name in starts_none:
        if starts_an_ingester(args.suite / "tests" / name):
            print(f"{name} is listed under `starts_no_ingester`, but starts one")
            return 1
    # The suite's name is `test_basics.py`; `basics` and a path are accepted as well.
    wanted = [f"test_{pathlib.Path(f).name.removesuffix('.py').removeprefix('test_')}.py" for f in args.files]
    if missing := [name for name in wanted if name not in present]:
        print(f"no such file in the suite: {', '.join(missing)}")
        return 1

    chosen = wanted or [name for name in present if name in expected]
    if args.alone:
        return alone(args, args.alone, expected.get(args.alone, {}))
    if not may_be_apart():
        args.jobs = 1
        print("no network namespace may be made here: the suite's fixed ports must be free")
        if taken := ports_in_use():
            print("\n".join(["these are in use:", *taken]))
            return 1
    counts: collections.Counter[str] = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for report, counted in pool.map(apart, chosen):
            counts.update(counted)
            print(report, end="", flush=True)
    print(f"peer suite: {counts['passes']} files pass, {counts['waits']} wait for a plugin (and pass with Python in its place), "
          f"{counts['WRONG']} wrong; framegate was started {counts['started']} times")
    return 1 if counts["WRONG"] else 0


def apart(name: str) -> tuple[str, dict]:
    """Runs one file in a separate process; returns its report, and its counts."""
    with lock:
        if stopping.is_set():
            return "", {}
        process = subprocess.Popen([sys.executable, *sys.argv, "--alone", name], stdout=subprocess.PIPE, text=True)
        children.append(process)
    report, _ = process.communicate()
    body, _, counted = report.rpartition(COUNTED)
    if not counted:
        return f"{name:<36} WRONG: it could not be run\n    {report}", {"WRONG": 1}
    return body, json.loads(counted)


def alone(args: argparse.Namespace, name: str, rule: dict) -> int:
    """Runs one file here; returns its report, with a last line for its counts."""
    own_network()
    redis = Redis()
    try:
        outcome = run_file(args, name, rule)
        if is_race(rule, outcome):
            print(f"{name:<36} again, after one of the peer's own races ({outcome.summary})", flush=True)
            redis.command("FLUSHALL")
            outcome = run_file(args, name, rule, ".again")
    finally:
        redis.stop()
    wrong = differences({} if args.python else rule, outcome) if not args.python else ["failed"] * (outcome.status != 0)
    verdict = "WRONG" if wrong else f"waits for {', '.join(sorted(outcome.waits_for))}" if outcome.waits_for else "passes"
    used = ", ".join(f"{count}× {plugin}" for plugin, count in sorted(outcome.framegate.items())) or "-"
    print(f"{name:<36} {verdict:<28} framegate: {used:<14} pytest: {outcome.summary}")
    for sentence in wrong:
        print(f"    {sentence}")
    if wrong:
        tail = outcome.output.splitlines()[-40:]
        print("\n".join(["    | " + line for line in tail] + [f"    whole output: {args.logs / name}.log"]))
    verdict = "WRONG" if wrong else "waits" if outcome.waits_for else "passes"
    print(COUNTED + json.dumps({verdict: 1, "started": sum(outcome.framegate.values())}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
