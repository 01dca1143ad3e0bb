"""The example's page, as somebody sees it who opens it in Chromium."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.looks import look
from tests.browser.served import ROOT
from tests.browser.support import Visitor, launched_browser
from tests.crewai.held_model import HELD_AFTER
from tests.crewai.page_demo import PageDemo, held_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PATIENCE = 60_000
expect.set_options(timeout=PATIENCE)

BUTTONS = "#question button"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_browser() as launched:
        yield launched


@contextmanager
def running(folder: Path, *, quick: bool = True) -> Iterator[PageDemo]:
    with held_model(folder) as model:
        demo = PageDemo(folder, model, quick=quick)
        yield demo
        if demo.process.poll() is None:
            demo.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def lasting_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageDemo]:
    with running(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PageDemo]:
    """One for all tests, except those with an ``own_server``: it is killed, or draws with care."""
    marker = request.node.get_closest_marker("own_server")
    if marker is None:
        lasting: PageDemo = request.getfixturevalue("lasting_demo")
        yield lasting
        lasting.hold_nobody()  # also where the test has failed
        return
    with running(tmp_path, **marker.kwargs) as own:
        yield own


@pytest.fixture
def visitor(browser: Browser, demo: PageDemo) -> Iterator[Visitor]:
    """Somebody who sees no error, no violation of the CSP (an error, too), nothing foreign."""
    somebody = Visitor(browser, demo.url)
    somebody.context.set_default_timeout(PATIENCE)
    yield somebody
    somebody.context.close()
    assert somebody.complaints == []


def write(page: Page, title: str = "A Cold Cup") -> None:
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Write it").click()


def story_of(page: Page) -> str:
    return page.url.partition("#")[2]


def card(page: Page, role: str, number: int = 0) -> Locator:
    return page.locator(".card").filter(has=page.locator(".role", has_text=re.compile(f"^{role}$"))).nth(number)


def expect_half_of(page: Page, role: str, begins: str, number: int = 0) -> None:
    """This agent has written eight words, and no more will come until the model goes on."""
    expect(card(page, role, number)).to_have_attribute("data-state", "writing")
    text = card(page, role, number).locator(".text")
    expect(text).to_have_text(re.compile(f"^{begins}"))
    expect(text).to_have_text(re.compile(rf"^\S+(\s+\S+){{{HELD_AFTER - 1}}}\s*$"))
    expect(page.locator("#summary")).to_have_text(f"{role} is writing")


def expect_the_end(page: Page, demo: PageDemo) -> None:
    """It is written and drawn, and no request was answered twice."""
    expect(page.locator("#summary")).to_have_text("Written and drawn")
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))
    expect(page.locator("#pages img")).to_have_count(3)
    assert set(demo.answered(story_of(page)).values()) == {1}
    expect(page.locator("#ledger")).to_contain_text("0 of them again")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download PDF").click()
    assert download.value.path().read_bytes().startswith(b"%PDF-")


@pytest.mark.own_server(quick=False)
def test_texts_grow_the_question_is_answered_and_every_state_is_accessible(
    visitor: Visitor, demo: PageDemo, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("ASYNCJOBS_SCREENSHOTS", tmp_path))
    demo.hold("plotter")
    page = visitor.tab()
    look(page, "home", folder, whole=True)
    write(page)
    expect_half_of(page, "Plotter", "Lord Ashby is found dead in his chair,")
    half = card(page, "Plotter").locator(".text").inner_text()
    expect(page.locator("#connection")).to_have_text(re.compile("live"))
    look(page, "half", folder, whole=True)
    demo.go_on("plotter")
    expect(card(page, "Plotter").locator(".text")).to_contain_text("On Thursday the drops went into the milk.")
    assert card(page, "Plotter").locator(".text").inner_text().startswith(half.strip())
    expect(card(page, "Investigator")).to_contain_text("alibi_of(Hale) → In London since Wednesday")
    expect(page.locator("#question")).to_contain_text("Is this the murderer?")
    expect(page.locator("#about")).to_contain_text("Dr. Edmund Hale, the family doctor.")
    expect(page.locator(BUTTONS)).to_have_text(["yes", "no"])
    expect(page.locator(".card .role")).to_have_text(["Plotter", "Investigator", "Author", "Editor", "Author"])
    expect(page.locator("#paid")).to_have_text("4")  # by the crew; the flow reports in the end
    look(page, "question", folder, whole=True)
    page.get_by_role("button", name="yes").dblclick()
    expect(page.locator("#question")).to_be_hidden()
    expect_the_end(page, demo)
    expect(page.locator("#paid")).to_have_text("7")
    expect(page.locator("#replayed")).to_have_text("0")
    expect(page.locator(".card[data-state=completed]")).to_have_count(5)
    assert page.title() == "✔ A Cold Cup"
    look(page, "end", folder, whole=True)
    page.get_by_role("link", name="The crew").click()
    expect(page.locator("#shelf")).to_contain_text("A Cold Cup")


def test_what_was_stopped_is_resumed_and_no_answer_is_paid_again(
    visitor: Visitor, demo: PageDemo, tmp_path: Path
) -> None:
    demo.hold("author")
    page = visitor.tab()
    write(page)
    expect_half_of(page, "Author", "Murderer: Hale")
    paid = demo.answered(story_of(page))
    assert paid.total() == 3  # the plot, the call of a tool, and the clues
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#summary")).to_have_text("Stopping")
    demo.go_on("author")  # a stream ends at its next token
    expect(page.locator("#summary")).to_have_text("Stopped")
    expect(page.locator("#connection")).to_have_text(re.compile("ended"))
    expect(card(page, "Author")).to_have_attribute("data-state", "cut")
    assert demo.answered(story_of(page)) == paid
    look(page, "stopped", Path(os.environ.get("ASYNCJOBS_SCREENSHOTS", tmp_path)), whole=True)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#question")).to_be_visible()
    for role in ("Plotter", "Investigator"):
        expect(card(page, role)).to_have_attribute("data-state", "kept")
        expect(card(page, role, 1)).to_have_count(0)
    expect(page.locator("#replayed")).to_have_text("3")
    look(page, "resumed", Path(os.environ.get("ASYNCJOBS_SCREENSHOTS", tmp_path)), whole=True)
    page.get_by_role("button", name="yes").click()
    expect_the_end(page, demo)
    assert demo.answered(story_of(page)).total() == 6  # and the screenplay, the notes, and the screenplay again


@pytest.mark.own_server
def test_a_server_that_is_killed_half_way_goes_on_and_pays_nothing_again(visitor: Visitor, demo: PageDemo) -> None:
    demo.hold("author")
    page = visitor.tab()
    write(page)
    expect_half_of(page, "Author", "Murderer: Hale")
    page.evaluate("window.never = 'reloaded'")
    visitor.server_is_gone = True
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    expect(page.locator("#connection")).to_have_text(re.compile("reconnecting"))
    demo.go_on("author")
    demo.start()
    expect(page.locator("#question")).to_be_visible()
    expect(page.locator("#log")).to_contain_text("the crew was interrupted")
    expect(page.locator("#replayed")).to_have_text("3")
    # And once more, while it waits for an answer.
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    demo.start()
    expect(page.locator("#log")).to_contain_text("the revision: try 2")
    expect(page.locator(BUTTONS)).to_have_count(2)
    page.get_by_role("button", name="no").click()
    expect(card(page, "Author", 3).locator(".text")).to_contain_text("Murderer: Pike")
    expect_the_end(page, demo)
    assert page.evaluate("window.never") == "reloaded"


def test_a_reload_in_the_middle_shows_each_piece_once_and_goes_on(visitor: Visitor, demo: PageDemo) -> None:
    demo.hold("editor")
    page = visitor.tab()
    write(page)
    expect_half_of(page, "Editor", "Verdict: revise")
    texts = page.locator(".card .text").all_inner_texts()
    page.reload()
    expect_half_of(page, "Editor", "Verdict: revise")
    assert page.locator(".card .text").all_inner_texts() == texts
    demo.go_on("editor")
    expect(page.locator("#question")).to_be_visible()
    answer = page.locator(".card .text").nth(3).inner_text()
    assert answer.count("Verdict: revise") == 1
    assert answer.strip().endswith("Let Quill say when it was clipped.")


def test_the_newest_text_is_followed_until_somebody_scrolls_away(visitor: Visitor, demo: PageDemo) -> None:
    demo.hold("author")
    page = visitor.tab()
    page.set_viewport_size({"width": 1280, "height": 420})
    write(page)
    expect_half_of(page, "Author", "Murderer: Hale")
    expect(card(page, "Author")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Stop")).to_be_in_viewport(ratio=1)
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -5000)
    expect(page.locator("#title")).to_be_in_viewport(ratio=1)
    demo.go_on("author")
    expect(page.locator("#question")).to_be_visible()
    assert page.evaluate("scrollY") == 0


def test_the_question_is_answered_by_the_command_line_too(visitor: Visitor, demo: PageDemo) -> None:
    one = visitor.tab()
    write(one, "Asked Twice")
    expect(one.locator("#question")).to_be_visible()
    two = visitor.tab(f"#{one.url.partition('#')[2]}")
    expect(two.locator(BUTTONS)).to_have_count(2)
    gate = two.locator("#question").get_attribute("data-gate")
    assert gate is not None
    command = [sys.executable, "-m", "asyncjobs", "--db", str(demo.folder / "jobs.db"), "jobs", "answer", gate, "no"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE / 1000)
    for page in (one, two):
        expect(page.locator("#question")).to_be_hidden()
        expect(card(page, "Author", 2).locator(".text")).to_contain_text("Murderer: Pike")


def test_a_question_that_was_stopped_is_asked_again(visitor: Visitor, demo: PageDemo) -> None:
    page = visitor.tab()
    write(page)
    expect(page.locator("#question")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#summary")).to_have_text("Stopped")
    expect(page.locator("#question")).to_be_hidden()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator(BUTTONS)).to_have_count(2)
    page.get_by_role("button", name="yes").click()
    expect_the_end(page, demo)


def test_a_title_is_text_whatever_is_in_it(visitor: Visitor, demo: PageDemo) -> None:
    title = "</script><script>alert(1)</script><b>\"'&amp;{1}"
    demo.hold("plotter")
    page = visitor.tab()
    write(page, title)
    expect_half_of(page, "Plotter", "Lord Ashby")
    demo.go_on("plotter")
    assert page.locator("#title").text_content() == title
    expect(page.locator("main :is(script, b)")).to_have_count(0)
    page.get_by_role("link", name="The crew").click()
    newest = page.locator("#shelf .name", has_text="alert(1)")
    expect(newest).to_be_visible()
    assert newest.text_content() == title


def test_the_routes_take_only_what_the_page_sends(demo: PageDemo) -> None:
    with httpx.Client(base_url=demo.url, timeout=PATIENCE / 1000) as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            answer = client.post("stories", content="{}", headers={"content-type": kind})
            assert answer.status_code == 415, kind
        for wish in (
            "{",
            "[]",
            '"x"',
            '{"title": ""}',
            '{"title": 7}',
            '{"title": "' + "x" * 51 + '"}',
            '{"title": "\\ud800"}',
        ):
            answer = client.post("stories", content=wish, headers={"content-type": "application/json"})
            assert answer.status_code == 422, wish
        for path in ("", "stories", "jobs/v1/jobs"):
            assert client.get(path, headers={"host": "attacker.example"}).status_code == 400, path
        for path in ("pictures/nobody", "books/nobody/pdf", "pictures/..%2Fjobs.db", "pictures/%00"):
            assert client.get(path).status_code == 404, path
        assert client.get("jobs/v1/jobs?metadata.title=x").json()["items"] == []
        policy = client.get("").headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
