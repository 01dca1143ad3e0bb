"""Where the project is found: one constant, which the metadata of its packages, the site and the command line read."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from asyncjobs.addresses import Addresses
from tests.cli.inside import Inside

ROOT = Path(__file__).resolve().parents[2]
HOME, SITE = "https://code.example.org/them/asyncjobs", "https://docs.example.org/asyncjobs"
CONSTANT = re.compile(r"^ADDRESSES = .*$", re.MULTILINE)
BUILDS = "import sys; from hatchling.build import {0}; print({0}(sys.argv[1]))"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What a build reads of the project, in a folder of its own."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "asyncjobs", folder / "asyncjobs", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


def at(folder: Path, addresses: Addresses) -> None:
    """Give the project of a folder these addresses."""
    module = folder / "asyncjobs" / "addresses.py"
    text, found = CONSTANT.subn(f"ADDRESSES = {addresses!r}", module.read_text("utf-8"))
    assert found == 1
    module.write_text(text)


def built(folder: Path, what: str) -> Path:
    """Build a wheel or an sdist as pip does."""
    (folder / "dist").mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILDS.format(f"build_{what}"), "dist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / done.stdout.strip().splitlines()[-1]


def metadata_of(package: Path) -> Message:
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
            return message_from_string(wheel.read(name).decode())
    with tarfile.open(package) as archive:
        stream = archive.extractfile(f"{package.name.removesuffix('.tar.gz')}/PKG-INFO")
        assert stream is not None
        return message_from_string(stream.read().decode())


def links_of(text: str) -> list[str]:
    return re.findall(r"\]\(([^()\s]+)\)", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["wheel", "sdist"])
def test_without_a_home_a_package_has_no_addresses_and_the_readme_as_it_is(copy: Path, what: str) -> None:
    at(copy, Addresses())
    found = metadata_of(built(copy, what))
    assert found.get_all("Project-URL") is None
    assert found.get_all("Dynamic") is None
    assert found["Description-Content-Type"] == "text/markdown"
    assert found.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["wheel", "sdist"])
def test_with_a_home_a_package_names_it_and_every_link_of_the_readme_is_absolute(copy: Path, what: str) -> None:
    at(copy, Addresses(HOME, SITE))
    found = metadata_of(built(copy, what))
    assert found.get_all("Project-URL") == [
        f"Homepage, {HOME}",
        f"Documentation, {SITE}",
        f"Source, {HOME}",
        f"Changelog, {HOME}/blob/main/CHANGELOG.md",
    ]
    text = found.get_payload()
    assert isinstance(text, str)
    before = [link for link in links_of((ROOT / "README.md").read_text("utf-8")) if not link.startswith("#")]
    after = [link for link in links_of(text) if not link.startswith("#")]
    assert len(before) == len(after) > 20
    assert all(link.startswith("https://") for link in after)
    assert f"{SITE}/guides/values.html" in after
    assert f"{HOME}/blob/main/CONTRIBUTING.md" in after


@pytest.mark.slow
def test_a_wheel_can_be_built_from_the_sdist(copy: Path, tmp_path: Path) -> None:
    at(copy, Addresses(HOME))
    packed = built(copy, "sdist")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    found = metadata_of(built(tmp_path / packed.name.removesuffix(".tar.gz"), "wheel"))
    assert f"Documentation, {HOME}/blob/main/docs/index.md" in found.get_all("Project-URL", [])


def test_a_link_leads_to_the_site_the_repository_or_nowhere() -> None:
    whole, repository = Addresses(HOME, SITE), Addresses(HOME)
    assert whole.link("docs/guides/web.md#find-jobs") == f"{SITE}/guides/web.html#find-jobs"
    assert whole.link("docs/adr") == f"{HOME}/blob/main/docs/adr"
    assert repository.link("docs/guides/web.md#find-jobs") == f"{HOME}/blob/main/docs/guides/web.md#find-jobs"
    assert whole.picture("docs/a.png") == f"{HOME}/raw/main/docs/a.png"
    assert Addresses(docs=SITE).link("docs/guides/web.md") is None
    assert Addresses().picture("docs/a.png") is None


def test_links_of_pictures_and_of_html_are_found_and_those_in_code_are_left() -> None:
    absolute = runpy.run_path(str(ROOT / "hatch_build.py"))["absolute"]
    text = (
        '[a `b`](docs/a.md) ![c](docs/c.png) [![d](docs/d.svg)](SECURITY.md) <img src="docs/e.png" alt="">'
        '<a href="LICENSE"> [f](#f) [g](https://x.org/)\n```md\n[h](h.md)\n```\n'
    )
    assert absolute(text, Addresses(HOME)) == (
        f"[a `b`]({HOME}/blob/main/docs/a.md) ![c]({HOME}/raw/main/docs/c.png) "
        f"[![d]({HOME}/raw/main/docs/d.svg)]({HOME}/blob/main/SECURITY.md) "
        f'<img src="{HOME}/raw/main/docs/e.png" alt=""><a href="{HOME}/blob/main/LICENSE"> [f](#f) [g](https://x.org/)\n'
        "```md\n[h](h.md)\n```\n"
    )


def test_explain_prints_an_address_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(tmp_path, monkeypatch)
    monkeypatch.setattr("asyncjobs.cli.explain.ADDRESSES", Addresses())
    assert "http" not in inside.good("explain", "disk-full").out
    monkeypatch.setattr("asyncjobs.cli.explain.ADDRESSES", Addresses(HOME, SITE))
    assert inside.good("explain", "disk-full").lines[-1] == f"More: {SITE}/reference/error-codes.html#disk-full"


def test_the_site_links_to_files_of_the_project_where_there_is_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_extensions"))
    outside = runpy.run_path(str(ROOT / "docs" / "_extensions" / "outside.py"))
    page, text = ROOT / "docs" / "guides" / "tracker.md", "see [the comic](../../examples/comic) and [steps](steps.md)"
    assert outside["resolve"](page, text, Addresses()) == "see the comic and [steps](steps.md)"
    expected = f"see [the comic]({HOME}/blob/main/examples/comic) and [steps](steps.md)"
    assert outside["resolve"](page, text, Addresses(HOME, SITE)) == expected
