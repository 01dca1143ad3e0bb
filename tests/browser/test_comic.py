"""The web app of the comic, as somebody sees it who opens it in Chromium."""

from __future__ import annotations

import re
import signal
import time

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.support import PATIENCE, SHORT, Demo, Visitor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("browser")]
expect.set_options(timeout=PATIENCE)

JOBS = 11
"""Jobs of the short story: plot, narrative, three references, three panels, cover, page, book."""
PANELS = ".paper .picture[data-drawn]"


def draw(page: Page, title: str = "A Short Case") -> None:
    """Fill in the form and press the button."""
    page.get_by_label("Title").fill(title)
    page.get_by_role("button", name="Draw it").click()


def expect_the_middle(page: Page) -> None:
    """One panel is there, and no more will come until the artist goes on."""
    expect(page.locator(PANELS)).to_have_count(1)
    expect(page.get_by_role("img", name="two shot of sitting room")).to_be_visible()
    expect(page.get_by_role("link", name="Download")).to_have_count(0)


def expect_the_end(page: Page) -> None:
    """All is drawn."""
    expect(page.locator("#summary")).to_contain_text(f"{JOBS} of {JOBS} jobs done")
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))
    expect(page.get_by_role("img", name="Page 1: The Only Scene")).to_be_visible()
    expect(page.locator(".paper[data-drawn]")).to_have_count(2)
    expect(page.get_by_role("link", name="Download")).to_have_count(2)


def expect_a_book(page: Page) -> None:
    """It can be taken home."""
    for kind, begins in (("PDF", b"%PDF-"), ("CBZ", b"PK")):
        link = page.get_by_role("link", name=f"Download {kind}")
        with page.expect_download() as download:
            link.click()
        assert download.value.path().read_bytes().startswith(begins)


def test_panels_appear_as_they_are_drawn_and_in_the_end_there_is_a_book(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    draw(page)
    expect_the_middle(page)
    expect(page.locator("#connection")).to_have_text(re.compile("live"))
    waiting = page.locator(".paper .picture:not([data-drawn])")
    expect(waiting).to_have_count(2)
    expect(waiting.first).to_contain_text("▶ drawing")
    expect(waiting.first).to_contain_text("try 2")  # every panel of the short story fails once on purpose
    demo.go_on()
    expect_the_end(page)
    expect_a_book(page)
    log = page.locator("#log")
    expect(log).to_contain_text("panel Grim 01: the image service hung up")
    expect(log).to_contain_text("panel Grim 01: try 2")
    expect(log).to_contain_text("panel Grim 01: close up, menace: He did it.")
    expect(log).to_contain_text("book is done")
    assert page.title() == "✔ A Short Case"


def test_a_reload_in_the_middle_shows_what_was_drawn_and_goes_on(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    draw(page)
    expect_the_middle(page)
    lines = page.locator("#log li").count()
    page.reload()
    expect_the_middle(page)
    expect(page.locator("#log li")).to_have_count(lines)
    demo.go_on()
    expect_the_end(page)


@pytest.mark.own_server
def test_a_server_that_is_killed_and_started_again_is_no_reason_to_reload(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    draw(page)
    expect_the_middle(page)
    page.evaluate("window.never = 'reloaded'")
    visitor.server_is_gone = True
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    expect(page.locator("#connection")).to_have_text(re.compile("reconnecting"))
    demo.start()
    demo.go_on()
    expect_the_end(page)
    expect(page.locator("#log")).to_contain_text("was interrupted")
    assert page.evaluate("window.never") == "reloaded"


def test_two_tabs_see_the_same_and_a_finished_comic_can_be_opened_later(visitor: Visitor, demo: Demo) -> None:
    one = visitor.tab()
    draw(one, "Seen Twice")
    expect_the_middle(one)
    two = visitor.tab(f"#{one.url.partition('#')[2]}")
    expect_the_middle(two)
    demo.go_on()
    for page in (one, two):
        expect_the_end(page)
    later = visitor.tab()
    later.get_by_role("link", name="Seen Twice").click()
    expect(later.get_by_role("heading", name="Seen Twice")).to_be_focused()
    expect_the_end(later)
    expect_a_book(later)


def test_a_hidden_tab_gives_its_connection_back_and_shows_what_it_missed(visitor: Visitor, demo: Demo) -> None:
    def is_stream(request: Request) -> bool:
        return "/events?after=" in request.url

    def pretend(page: Page, *, hidden: bool) -> None:
        page.evaluate(
            """(hidden) => {
                Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    page = visitor.tab()
    draw(page)
    expect_the_middle(page)
    with page.expect_event("requestfailed", is_stream):  # what a stream is that the page itself closes
        pretend(page, hidden=True)
    demo.go_on()
    pretend(page, hidden=False)
    expect_the_end(page)


def test_drawing_can_be_stopped_and_what_is_missing_drawn_after_all(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    draw(page)
    expect_the_middle(page)
    page.get_by_role("button", name="Stop drawing").click()
    # A thread cannot be stopped, only told.
    expect(page.locator(".paper .picture[data-state=stopping]")).to_have_count(2)
    demo.go_on()
    expect(page.locator("#connection")).to_have_text(re.compile("ended"))
    expect(page.locator(PANELS)).to_have_count(1)
    expect(page.locator(".paper .picture[data-state=cancelled]")).to_have_count(2)
    page.get_by_role("button", name="Go on drawing").click()
    expect_the_end(page)


@pytest.mark.own_server
def test_what_failed_says_why_and_can_be_tried_again(visitor: Visitor, demo: Demo) -> None:
    demo.end(signal.SIGKILL)
    script = demo.folder / "impossible.toml"
    demo.environment["COMIC_SCRIPT"] = str(script)
    script.write_text(SHORT.read_text().replace('victim = "Ida"', 'victim = "Grim"'))
    demo.start()
    page = visitor.tab()
    draw(page)
    expect(page.locator("#connection")).to_have_text(re.compile("ended"))
    expect(page.locator("#summary")).to_have_text(f"0 of {JOBS} jobs done, 1 failed, {JOBS - 1} skipped")
    failure = page.locator("#log").get_by_text("plot failed: Grim cannot be the killer, and victim")
    expect(failure).to_have_count(1)
    expect(page.locator("#log")).to_contain_text("book is skipped, because of plot")
    page.get_by_role("button", name="Retry failed").click()
    expect(failure).to_have_count(2)
    expect(page.locator("#connection")).to_have_text(re.compile("ended"))


def test_an_address_of_no_comic_says_so(visitor: Visitor) -> None:
    page = visitor.tab("#0000")
    expect(page.get_by_role("heading", name="There is no such comic")).to_be_visible()
    assert len(visitor.complaints) == 1  # the browser's own, of the 404
    visitor.complaints.clear()
    page.get_by_role("link", name="Draw another one").click()
    expect(page.get_by_role("button", name="Draw it")).to_be_visible()


def test_a_title_is_text_whatever_is_in_it(visitor: Visitor, demo: Demo) -> None:
    title = "</script><script>alert(1)</script><b>\"'&amp;\u2028x"
    demo.go_on()
    page = visitor.tab()
    draw(page, title)
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))
    assert page.locator("#title").text_content() == title
    expect(page.locator("main :is(script, b)")).to_have_count(0)
    page.get_by_role("link", name="The comic").click()
    # The shelf of before stands there until the new one is read.
    newest = page.locator("#shelf .name", has_text="alert(1)").first
    expect(newest).to_be_visible()
    assert newest.text_content() == title


@pytest.mark.serial  # beside other tests, the end misses the time that people see
@pytest.mark.own_server
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_at_once_although_pages_are_open_and_panels_half_drawn(
    visitor: Visitor, demo: Demo, number: signal.Signals
) -> None:
    pages = [visitor.tab() for _ in range(2)]
    draw(pages[0])
    expect_the_middle(pages[0])
    pages[1].goto(pages[0].url)
    pages[1].reload()
    expect(pages[1].locator("#connection")).to_have_text(re.compile("live"))
    visitor.server_is_gone = True
    began = time.monotonic()
    code = demo.end(number)
    took = time.monotonic() - began
    assert code in (0, -number)
    assert took < 2.0, f"it took {took:.1f} s"
    for page in pages:
        expect(page.locator("#connection")).to_have_text(re.compile("server stopping|reconnecting"))
    assert demo.log.read_text().count("Traceback") == 0
