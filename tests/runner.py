"""Runs the binaries of the Rust tests, most of them in parallel: they wait more than they compute.

    runner.py BINARIES FOLDER side-by-side|alone|report

BINARIES is the output of `cargo test --no-run --message-format json`. FOLDER gets the output of each binary (`NAME.log`), the
results (`results.json`) and the skips. `side-by-side` discards earlier results, then runs the documentation's tests and all
binaries except those that measure. `alone` runs the measuring ones, one after the other, on an otherwise idle machine. `report`
prints every result, each failure in full, and the skips. Called by `tests/run`.

FRAMEGATE_TEST_JOBS is how many run at a time (4), FRAMEGATE_TEST_ONLY the names of those to run, separated by blanks.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ALLOWED = ROOT / "tests/allowed-skips"

# These measure time, memory or calls, so other tests in parallel would distort the result. In `ready` a publisher has
# 100 ms to receive a subscription (`subscribe_settle`).
ALONE = ["allocations", "bench", "machine", "memory", "ready", "redis_load", "redis_state", "swap_cost", "system_calls"]
# The longest first, so that none is left at the end while the other jobs are idle.
FIRST = ["network", "soak", "plugin_check", "swap_peer", "authors", "workers", "framegate", "redis_faults", "drop_in", "redis_slow", "doc-tests"]
# These tests wait for time-outs of the kernel, up to a minute, and compute nothing meanwhile, so more of them run at a
# time.
THREADS = {"network": "8"}
# A binary that runs longer hangs. The long modes of `tests/run long` have more.
LIMIT = int(os.environ.get("FRAMEGATE_TEST_LIMIT", "900"))
JOBS = int(os.environ.get("FRAMEGATE_TEST_JOBS", "4"))
ONLY = os.environ.get("FRAMEGATE_TEST_ONLY", "").split()

running: set[subprocess.Popen] = set()
lock = threading.Lock()


class Binary:
    """A test binary, and how cargo would run it."""

    def __init__(self, name: str, shown: str, command: list[str], folder: pathlib.Path) -> None:
        self.name, self.shown, self.command, self.folder = name, shown, command, folder

    def place(self) -> int:
        return FIRST.index(self.name) if self.name in FIRST else len(FIRST)


def binaries(messages: pathlib.Path) -> list[Binary]:
    """The test binaries that cargo built."""
    found = []
    for line in messages.read_text().splitlines():
        message = json.loads(line)
        if message.get("reason") != "compiler-artifact" or not message["executable"] or not message["profile"]["test"]:
            continue
        target, package = message["target"], pathlib.Path(message["manifest_path"]).parent
        if target["kind"] == ["bench"]:
            continue
        source = pathlib.Path(target["src_path"]).relative_to(ROOT)
        unit = "" if target["kind"] == ["test"] else "unittests "
        shown = f"{unit}{source} ({pathlib.Path(message['executable'])})"
        name = target["name"] if target["kind"] == ["test"] else package.name if "lib" in str(target["kind"]) else f"{package.name}-{target['name']}"
        found.append(Binary("framegate" if name == "host" else name, shown, [message["executable"]], package))
    names = [binary.name for binary in found]
    for binary in found:
        if names.count(binary.name) > 1:
            binary.name = f"{binary.folder.name}-{binary.name}"
    cargo = os.environ.get("CARGO", "cargo")
    found.append(Binary("doc-tests", "", [cargo, "test", "--workspace", "--doc"], ROOT))
    if unknown := set(ONLY) - {binary.name for binary in found}:
        sys.exit(f"FRAMEGATE_TEST_ONLY: there is no {', '.join(sorted(unknown))}")
    return sorted((binary for binary in found if not ONLY or binary.name in ONLY), key=Binary.place)


def end_group(process: subprocess.Popen) -> None:
    """Ends a binary and all processes that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run(binary: Binary, folder: pathlib.Path) -> dict:
    """Runs a binary to its end, or to the limit; returns the result."""
    log = folder / f"{binary.name}.log"
    environment = os.environ | {
        "FRAMEGATE_SKIPS": str(folder / "skips"),
        # Everything is up to date: tests need not ask cargo again.
        "FRAMEGATE_BUILT": "1",
    }
    # As cargo sets it. Not for cargo itself: if the build script of `ring` sees another value, `ring` and everything
    # above it are built again.
    if binary.shown:
        environment["CARGO_MANIFEST_DIR"] = str(binary.folder)
    if binary.name in THREADS:
        environment["RUST_TEST_THREADS"] = THREADS[binary.name]
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            binary.command, cwd=binary.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        with lock:
            running.add(process)
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_group(process)
            process.wait()
            with lock:
                running.discard(process)
    took = time.monotonic() - began
    output = log.read_text(errors="replace")
    lines = re.findall(r"^ +Doc-tests .*|^test result: .*", output, re.MULTILINE)
    if binary.shown:
        lines.insert(0, f"     Running {binary.shown}")
    if status is None:
        lines.append(f"error: it still ran after {LIMIT} s, and was ended with all that it had started")
    elif status != 0:
        lines.append(f"error: it ended with {status}")
    ignored = re.findall(r"^test (.*?) \.\.\. ignored(?:, (.*))?$", output, re.MULTILINE)
    result = {
        "name": binary.name,
        "lines": lines,
        "failed": status != 0,
        "seconds": round(took, 1),
        "log": str(log),
        "skips": [f"{test}: {reason or 'ignored'}" for test, reason in ignored],
    }
    passed = sum(int(count) for count in re.findall(r"^test result: .*?(\d+) passed", output, re.MULTILINE))
    with lock:
        print(f"{took:7.1f} s  {binary.name:<24} {'FAILED' if status != 0 else f'{passed} passed'}", flush=True)
    return result


def run_all(chosen: list[Binary], folder: pathlib.Path, jobs: int, results: list[dict]) -> None:
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, binary, folder) for binary in chosen]):
            results.append(done.result())
            (folder / "results.json").write_text(json.dumps(results))


def skips(folder: pathlib.Path, results: list[dict]) -> tuple[list[str], list[str]]:
    """All skips, `TEST: REASON`, and those that are not allowed."""
    file = folder / "skips"
    found = file.read_text().splitlines() if file.exists() else []
    found += [skip for result in results for skip in result["skips"]]
    allowed = {line for line in ALLOWED.read_text().splitlines() if line and not line.startswith("#")}
    return found, [skip for skip in found if skip not in allowed]


def failure(result: dict) -> str:
    """The output of a failed binary; if it is very long, the failures and the end."""
    output = pathlib.Path(result["log"]).read_text(errors="replace")
    _, mark, failures = output.partition("\nfailures:\n")
    # A binary that was killed has no list of failures: its last lines show which tests still ran.
    return f"\n---- {result['name']} ({result['log']})\n{failures if mark else output[-20_000:]}"


def report(folder: pathlib.Path) -> int:
    file = folder / "results.json"
    results = json.loads(file.read_text()) if file.exists() else []
    for result in results:
        print("\n".join(result["lines"]), f"  {result['seconds']} s", sep="\n")
    failed = [result for result in results if result["failed"]]
    for result in failed:
        print(failure(result))
    found, unknown = skips(folder, results)
    for skip in found:
        print(f"skipped{' (not in tests/allowed-skips)' if skip in unknown else ''}: {skip}")
    in_ci = os.environ.get("CI") in ("1", "true")
    wrong = ([f"{len(failed)} binaries failed: {', '.join(result['name'] for result in failed)}"] if failed else []) + (
        [f"{len(unknown)} skips that tests/allowed-skips does not name"] if unknown and in_ci else []
    )
    if not results:
        wrong.append("no test ran")
    for sentence in wrong:
        print(f"FAILED: {sentence}")
    (folder / "skipped").write_text(str(len(found)))
    print(f"Rust tests: {len(results) - len(failed)} of {len(results)} binaries passed, {len(found)} skips, {len(found) - len(unknown)} of them allowed")
    return 1 if wrong else 0


def stopped(*_: object) -> None:
    """A signal also ends the processes that were started."""
    with lock:
        for process in running:
            end_group(process)
    os._exit(143)


def main() -> int:
    signal.signal(signal.SIGTERM, stopped)
    signal.signal(signal.SIGINT, stopped)
    messages, folder, what = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
    folder.mkdir(parents=True, exist_ok=True)
    if what == "report":
        return report(folder)
    chosen = [binary for binary in binaries(messages) if (binary.name in ALONE) == (what == "alone")]
    results: list[dict] = []
    if what == "alone":
        file = folder / "results.json"
        results = json.loads(file.read_text()) if file.exists() else []
    else:
        for name in ("skips", "results.json"):
            (folder / name).unlink(missing_ok=True)
    before = len(results)
    run_all(chosen, folder, 1 if what == "alone" else JOBS, results)
    return 1 if any(result["failed"] for result in results[before:]) else 0


if __name__ == "__main__":
    sys.exit(main())
