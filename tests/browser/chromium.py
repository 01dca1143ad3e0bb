"""Finds Chromium for the tests in a real browser. `python -m tests.browser.chromium` installs it where it can."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ON_MACS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
HINT = (
    "Chromium is not installed, which the tests in a real browser need: "
    "'apt-get install chromium' as root, 'brew install --cask chromium' on a Mac, "
    "or set ASYNCJOBS_CHROMIUM to the program's path"
)


def find() -> str | None:
    """The browser's path, if there is one."""
    named = os.environ.get("ASYNCJOBS_CHROMIUM")
    if named:
        return shutil.which(named)
    found = (shutil.which(name) for name in (*NAMES, *ON_MACS))
    return next((path for path in found if path is not None), None)


def required() -> bool:
    """Whether its absence is a failure: where nobody reads what was skipped."""
    said = (os.environ.get(name, "") for name in ("ASYNCJOBS_REQUIRE_BROWSER", "CI"))
    return any(value.lower() not in ("", "0", "false") for value in said)


def install() -> None:
    """Install Debian's package, as root or where sudo does not ask."""
    if shutil.which("apt-get") is None:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (shutil.which("sudo") is None or subprocess.run([*sudo, "true"], capture_output=True).returncode):
        return
    print("installing Chromium for the tests in a real browser …", flush=True)
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    apt = [*sudo, *environment, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run([*apt, *command], capture_output=True, text=True)
        if done.returncode:
            print(done.stdout + done.stderr, file=sys.stderr)
            return


def main() -> int:
    """Install it unless it is there. 1: it is required, and could not be."""
    if find() is None:
        install()
    if find() is not None:
        return 0
    print(HINT, file=sys.stderr)
    return 1 if required() else 0


if __name__ == "__main__":
    sys.exit(main())
