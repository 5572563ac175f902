"""Where the CPU of a delivery goes: counts the samples of a profile by the stage of a delivery's way that they were taken in.

    RUSTFLAGS="-C force-frame-pointers=yes" cargo build --profile profiling
    ./target/profiling/stentor bench steady --fan-out 1        # beside it, while the server is measured:
    perf record -F 1999 -g -o perf.data -p "$(pgrep -f 'stentor serve')" -- sleep 5
    perf script -i perf.data -F comm,ip,sym | python3 scripts/cpu_per_stage.py MICROSECONDS

MICROSECONDS is the CPU per delivery that the benchmark tells. A sample belongs to the stage of the innermost function that is
known here; one whose stack was cut off belongs to the runtime.
"""

import sys
from collections import Counter
from collections.abc import Iterator

# Stage, and parts of the names of its functions. The first that fits counts.
ON_THE_RUNTIME = (
    ("sign, build the request", ("delivery::request", "delivery::sign", "delivery::styles")),
    ("send, read the answer", ("delivery::transport", "delivery::pool", "hyper::client")),
    ("dispatch, judge", ("delivery::dispatch", "delivery::attempt", "delivery::queue")),
    ("authenticate, check", ("call::authenticate", "engine::caller", "rate_limit", "webhook_loop", "call::Call")),
    ("match", ("engine::matching", "engine::publish")),
    ("parse, answer", ("dialect::v1::events", "Store::accept_events", "http::body", "http::input")),
    ("route", ("axum", "tower", "http::front", "listen::exchange::carry_out", "listen::exchange::call")),
    ("HTTP in and out", ("http::listen",)),
)
ON_THE_WRITER = (
    ("empty the log", ("Checkpointer::checkpoint",)),
    ("commit: log and fsync", ("sqlite3VdbeHalt", "sqlite3BtreeCommit", "sqlite3PagerCommit", "fsync")),
    ("record: rows", ("sqlite::finish", "exchange::encode")),
    ("accept: rows", ("sqlite::accept", "Writer::write", "sqlite3_step")),
)


def samples(text: str) -> Iterator[tuple[str, list[str]]]:
    """The thread and the stack of each, innermost function first."""
    for block in text.split("\n\n"):
        thread, *frames = [line.strip() for line in block.splitlines() if line.strip()] or [""]
        if frames:
            yield thread, [frame.split(" ", 1)[-1] for frame in frames]


def stage(thread: str, stack: list[str]) -> str:
    """The stage that a sample was taken in."""
    if thread.startswith("stentor-checkpo"):
        return "empty the log"
    if thread.startswith("stentor-writer"):
        for name, parts in ON_THE_WRITER:
            if any(part in function for function in stack for part in parts):
                return name
        return "groups, answers"
    for function in stack:
        for name, parts in ON_THE_RUNTIME:
            if any(part in function for part in parts):
                return name
    return "runtime"


def main() -> None:
    """Prints a row for each stage: its CPU, and how much of it the kernel's."""
    micros = float(sys.argv[1])
    taken, in_kernel = Counter[str](), Counter[str]()
    for thread, stack in samples(sys.stdin.read()):
        name = stage(thread, stack)
        taken[name] += 1
        in_kernel[name] += any("entry_SYSCALL" in function for function in stack)
    each = micros / taken.total()
    for name, count in taken.most_common():
        print(f"| {name} | {count * each:.1f} us | {in_kernel[name] * each:.1f} us |")


main()
