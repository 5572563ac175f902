"""The binary under test, and one command of it that is expected to end by itself."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND_SECONDS_MAX = 60


def binary() -> Path:
    """`STENTOR_TEST_BINARY`, or the development build."""
    built = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "debug" / "stentor"
    path = Path(os.environ.get("STENTOR_TEST_BINARY", built))
    if not path.is_file():
        raise AssertionError(f"there is no binary at {path}: run ./test, or cargo build")
    return path


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small environment, so that no `STENTOR_*` variable or proxy of the machine takes part."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return inherited | {"RUST_BACKTRACE": "1"} | dict(variables or {})


def run(
    *words: str | Path,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    wrap: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs `stentor WORDS` in `cwd` to its end."""
    return subprocess.run(
        [*wrap, str(binary()), *map(str, words)],
        cwd=cwd,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
