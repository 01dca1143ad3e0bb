"""The files of the page on one host: what reads them takes them, and they are about one file of one application."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.architecture.pages import ROOT, Block, blocks_of, ran
from tests.uvicorn_program import serving

BLOCKS = blocks_of("deployment/one-host")
FILES = {block.name: block.text for block in BLOCKS if block.name is not None}
TOKEN = "a-token-of-the-tests-0123456789"
PRINTED = "/srv/shop"
"""The folder of the application on the page."""
LOOK = (
    "import anyio, app\n\n"
    "async def main():\n"
    "    async with app.jp:\n"
    "        print((await app.jp.backend.health())['synchronous'])\n\n"
    "anyio.run(main)\n"
)
"""What says with which settings the program of the page has opened its store."""


def of_kind(kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind == kind]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the application, with the files that the page has for it."""
    for name in ("tasks.py", "app.py", "asyncjobs.toml"):
        (tmp_path / name).write_text(FILES[name], "utf-8")
    return tmp_path


def test_the_program_that_submits_has_the_settings_of_the_file(folder: Path) -> None:
    (folder / "look.py").write_text(LOOK)
    assert ran(folder, "look.py") == "FULL\n"
    assert (folder / "jobs.db").is_file()


@pytest.mark.parametrize(("named", "synchronous"), [(True, "FULL"), (False, "NORMAL")])
def test_a_program_that_is_started_elsewhere_has_the_settings_only_if_the_file_is_named(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
    *, named: bool, synchronous: str,
) -> None:  # fmt: skip
    (folder / "look.py").write_text(LOOK)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    if named:
        monkeypatch.setenv("ASYNCJOBS_CONFIG", str(folder / "asyncjobs.toml"))
    assert ran(elsewhere, str(folder / "look.py")) == f"{synchronous}\n"
    assert [file.is_file() for file in (folder / "jobs.db", elsewhere / "asyncjobs.db")] == [named, not named]


# -- systemd


def test_every_unit_has_a_name_and_is_for_one_user_and_folder() -> None:
    units = {block.name: block.text for block in of_kind("ini") if block.printed_by is None}
    assert set(units) == {"user.conf", "jobs-app.service", "jobs-backup.service", "jobs-backup.timer"}
    for name, text in units.items():
        assert set(re.findall("^User=(.*)", text, re.MULTILINE)) == (set() if name == "jobs-backup.timer" else {"jobs"})
        assert set(re.findall("^WorkingDirectory=(.*)", text, re.MULTILINE)) <= {PRINTED}
        settings = re.findall("^Environment=ASYNCJOBS_CONFIG=(.*)", text, re.MULTILINE)
        assert settings == ([f"{PRINTED}/asyncjobs.toml"] if "ExecStart=" in text else [])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="it reads the units, and is not installed")
def test_systemd_takes_the_units(folder: Path) -> None:
    scripts = folder / ".venv" / "bin"
    scripts.mkdir(parents=True)
    (scripts / "uvicorn").symlink_to(shutil.which("true") or "")
    units = folder / "units"
    (units / "jobs.service.d").mkdir(parents=True)
    (units / "jobs.service").write_text(unit(folder, "systemd"), "utf-8")
    assert f"--config {folder}/asyncjobs.toml" in (units / "jobs.service").read_text("utf-8")
    (units / "jobs.service.d" / "user.conf").write_text(FILES["user.conf"], "utf-8")
    names = [name for name in FILES if name.startswith("jobs-")]
    for name in names:
        (units / name).write_text(FILES[name].replace(PRINTED, str(folder)), "utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(units / name for name in ("jobs.service", *names))],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if str(units) in line or line.startswith("jobs")]
    assert (done.returncode, told) == (0, []), done.stderr


def unit(folder: Path, kind: str) -> str:
    """Return the file that the command of the page prints."""
    [command] = {block.printed_by for block in BLOCKS if block.printed_by and f" unit {kind}" in block.printed_by}
    assert any(line.startswith(f"{command} >") for block in of_kind("sh") for line in block.text.splitlines())
    return ran(folder, "-m", *command.split())


# -- Docker


@pytest.mark.slow
def test_both_services_have_the_file_on_the_volume(folder: Path) -> None:
    yaml = pytest.importorskip("yaml")
    daemon = yaml.safe_load(unit(folder, "docker"))
    more = yaml.safe_load(FILES["compose.override.yaml"])
    app, jobs = more["services"]["app"], daemon["services"]["jobs"]
    assert app["volumes"] == jobs["volumes"]
    store = app["environment"]["ASYNCJOBS_DB"]
    assert jobs["command"][jobs["command"].index("--db") + 1] == store
    settings = app["environment"]["ASYNCJOBS_CONFIG"]
    assert settings == f"/app/{jobs['command'][jobs['command'].index('--config') + 1]}"  # /app: that of the image

    file = folder / "data" / "jobs.db"
    file.parent.mkdir()
    uvicorn, served, *options = app["command"]
    assert uvicorn == "uvicorn"
    options = ["127.0.0.1" if option == "0.0.0.0" else option for option in options]
    environment = {"ASYNCJOBS_CONFIG": str(folder / "asyncjobs.toml"), "ASYNCJOBS_DB": str(file), "JOBS_TOKEN": TOKEN}
    with serving(served, folder, *options, **environment, PYTHONPATH=str(ROOT)) as address:
        # Its workers listen only after it has printed the address.
        with httpx.Client(base_url=address, timeout=30, transport=httpx.HTTPTransport(retries=8)) as client:
            assert client.post("/pages/7").status_code == 202
    assert file.is_file()
    assert not (folder / "jobs.db").exists()


def test_the_image_has_what_the_services_need() -> None:
    [image] = of_kind("dockerfile")
    instructions = dict(line.split(" ", 1) for line in image.text.splitlines() if line.startswith(("FROM", "USER")))
    assert instructions["USER"] == "jobs"
    assert "useradd --create-home jobs" in image.text  # its home has the state file of the daemon
    assert "install -d -o jobs /data" in image.text
    copied = re.findall(r"^COPY (.+) \./$", image.text, re.MULTILINE)
    assert " ".join(copied).split() == ["asyncjobs.toml", "tasks.py", "app.py"]
    assert re.findall("^WORKDIR (.+)$", image.text, re.MULTILINE) == ["/app"]


def test_the_image_makes_the_library_as_the_page_says_and_uses_it() -> None:
    [image] = of_kind("dockerfile")
    [by_hand] = [block.text for block in of_kind("sh") if "cc -O2" in block.text]
    [compiled] = re.findall("^cc .+$", by_hand, re.MULTILINE)
    [archive] = re.findall("^curl .+$", by_hand, re.MULTILINE)
    made, used = image.text.split("\n\n")
    assert {f"RUN {compiled}", f"RUN {archive}"} <= set(made.splitlines())
    [stage] = re.findall(r"^FROM python:(\S+) AS sqlite$", made, re.MULTILINE)
    assert f"FROM python:{stage}-slim\n" in used  # one system, so that the library fits
    assert "COPY --from=sqlite /opt/sqlite /opt/sqlite\nENV LD_LIBRARY_PATH=/opt/sqlite\n" in used


def test_compose_reads_the_token_that_the_page_writes(folder: Path) -> None:
    [block] = [block for block in of_kind("sh") if "docker compose up" in block.text]
    [line] = [line for line in block.text.splitlines() if ".env" in line]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(line, shell=True, cwd=folder, env={**os.environ, "PATH": path}, check=True)
    written = folder / ".env"
    assert re.fullmatch(r"JOBS_TOKEN=[\w-]{16,}\n", written.read_text("utf-8"))
    assert "${JOBS_TOKEN:?" in FILES["compose.override.yaml"]
    assert written.stat().st_mode & 0o777 == 0o600


# -- backup


def test_two_copies_of_a_day_do_not_collide() -> None:
    [name] = re.findall(r"\$\(date \+(\S+)\)", FILES["backup.sh"])
    assert time.strftime(name, time.gmtime(0)) != time.strftime(name, time.gmtime(1))


# -- nginx


def location(path: str) -> dict[str, str]:
    """Return the directives of a location; of headers, the value by the name in small letters."""
    [block] = of_kind("nginx")
    [inner] = re.findall(rf"^location {path} \{{\n(.*?)^\}}", block.text, re.MULTILINE | re.DOTALL)
    lines = [line.strip().removesuffix(";").split(None, 1) for line in inner.splitlines()]
    headers = {
        name.lower(): value for key, rest in lines if key == "proxy_set_header" for name, value in [rest.split(None, 1)]
    }
    return {**{key: rest for key, rest in lines if key != "proxy_set_header"}, **headers}


def signed_in(client: httpx.Client, headers: dict[str, str]) -> tuple[str, int]:
    """Sign in as a page of the site does, and cancel something: return the cookie, and the code of the answer."""
    made = client.post("/jobs/v1/session", headers={**headers, "Authorization": f"Bearer {TOKEN}"})
    assert made.status_code < 300, made.text
    cookie = made.headers["set-cookie"]
    sent = {**headers, "Cookie": cookie.partition(";")[0], "X-Asyncjobs": "1", "Origin": "https://example.org"}
    return cookie, client.post("/jobs/v1/jobs/none/cancel", headers=sent).status_code


@pytest.mark.slow
def test_with_the_headers_of_the_page_a_page_of_the_site_may_act_and_without_host_it_may_not(folder: Path) -> None:
    variables = {"$http_host": "example.org", "$proxy_add_x_forwarded_for": "203.0.113.9", "$scheme": "https", '""': ""}
    headers = {name: variables[location("/jobs/")[name]] for name in ("host", "x-forwarded-for", "x-forwarded-proto")}
    with (
        serving("app:app", folder, JOBS_TOKEN=TOKEN, PYTHONPATH=str(ROOT)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        cookie, code = signed_in(client, headers)
        assert ("Secure" in cookie, code) == (True, 404)
        del headers["host"]
        assert signed_in(client, headers)[1] == 403


def test_both_locations_go_to_the_app_as_the_browser_asked() -> None:
    rest, jobs = location("/"), location("/jobs/")
    assert rest.items() <= jobs.items()
    assert set(jobs) - set(rest) == {"proxy_buffering", "proxy_read_timeout", "gzip"}


@contextmanager
def nginx(folder: Path, address: str) -> Iterator[str]:
    """Run nginx with the block of the page in front of a server; give its address."""
    [block] = of_kind("nginx")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    temporary = "".join(
        f"  {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    site = block.text.replace("http://127.0.0.1:8000", address)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
        f"http {{\n  access_log off;\n{temporary}  server {{\n  listen 127.0.0.1:{port};\n{site}  }}\n}}\n"
    )
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.communicate(timeout=20)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/jobs/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        time.sleep(0.02)  # another process, which reports nothing
        return False


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_the_block_and_hands_events_on_at_once(folder: Path) -> None:
    environment = {"JOBS_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
    with serving("app:app", folder, **environment) as address, nginx(folder, address) as proxy:
        deadline = time.monotonic() + 20
        while not answers(proxy):
            assert time.monotonic() < deadline
        with httpx.Client(base_url=proxy, timeout=30, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            host = {"Host": "example.org"}
            cookie = client.post("/jobs/v1/session", headers=host).headers["set-cookie"].partition(";")[0]
            sent = {**host, "Cookie": cookie, "X-Asyncjobs": "1", "Origin": "http://example.org"}
            assert client.post("/jobs/v1/jobs/none/cancel", headers=sent).status_code == 404
            with client.stream("GET", "/jobs/v1/events", headers=host) as events:
                frames = events.iter_lines()
                assert client.post("/pages/7", headers=host).status_code == 202
                assert any('"submitted"' in line for line in frames)
