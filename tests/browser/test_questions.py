"""The question of the web app: a page that has it from the stream of the job that asks, and from nothing else."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.served import ROOT
from tests.browser.support import PATIENCE, Demo, Visitor
from tests.browser.test_comic import draw

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("browser")]
expect.set_options(timeout=PATIENCE)

BUTTONS = "#question button"


def expect_the_question(page: Page) -> None:
    expect(page.locator("#question")).to_contain_text("Print this page?")
    expect(page.locator(BUTTONS)).to_have_text(["Print it", "Not now"])
    for button in page.locator(BUTTONS).all():
        expect(button).to_be_enabled()


def expect_no_question(page: Page) -> None:
    expect(page.locator("#question")).to_be_hidden()
    expect(page.locator(BUTTONS)).to_have_count(0)


def expect_printed(page: Page, demo: Demo) -> None:
    """The log says so, and there is the picture."""
    expect(page.locator("#log")).to_contain_text("print: page_01.png is printed")
    assert (demo.folder / "out" / comic_of(page) / "printed" / "page_01.png").exists()


def comic_of(page: Page) -> str:
    return page.url.partition("#")[2]


def asked_of(page: Page, title: str, demo: Demo) -> None:
    """Draw a comic up to its question."""
    demo.go_on()
    draw(page, title)
    expect_the_question(page)


def answer_by_command(demo: Demo, comic: str, *value: str) -> None:
    """Answer as another user of the machine does."""
    store = str(demo.folder / "out" / "jobs.db")
    command = [sys.executable, "-m", "asyncjobs", "--db", store, "jobs", "answer", f"{comic}:print/page", *value]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE / 1000)


def requests_about_the_question(page: Page) -> list[Request]:
    noted: list[Request] = []
    page.on("request", lambda request: noted.append(request) if ":print" in unquote(request.url) else None)
    return noted


def test_the_page_asks_by_the_stream_of_the_asking_job_alone(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    noted = requests_about_the_question(page)
    asked_of(page, "Asked", demo)
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))  # a comic is complete without it
    page.get_by_role("button", name="Print it").click()
    expect_no_question(page)
    expect_printed(page, demo)
    [stream, *answers] = noted
    assert stream.resource_type == "eventsource"
    assert f"{comic_of(page)}:print/events" in unquote(stream.url)
    assert [(one.method, one.post_data_json) for one in answers] == [("POST", {"value": "Print it"})]


def test_a_double_click_is_one_answer(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    noted = requests_about_the_question(page)
    asked_of(page, "Clicked Twice", demo)
    page.get_by_role("button", name="Print it").dblclick()
    expect_no_question(page)
    expect_printed(page, demo)
    assert [one.method for one in noted].count("POST") == 1
    expect(page.locator("#trouble")).to_be_hidden()


def test_a_no_is_an_answer_too(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    asked_of(page, "Not Printed", demo)
    page.get_by_role("button", name="Not now").click()
    expect_no_question(page)
    expect(page.locator("#log")).to_contain_text("print: page_01.png is not printed")
    page.reload()
    expect(page.locator("#log")).to_contain_text("print: page_01.png is not printed")
    expect_no_question(page)


def test_the_buttons_go_when_somebody_else_answers(visitor: Visitor, demo: Demo) -> None:
    one = visitor.tab()
    asked_of(one, "Asked Twice", demo)
    two = visitor.tab(f"#{comic_of(one)}")
    expect_the_question(two)
    answer_by_command(demo, comic_of(one), "Print it")
    for page in (one, two):
        expect_no_question(page)
        expect_printed(page, demo)


@pytest.mark.own_server
def test_a_question_is_there_after_a_reload_and_a_restart_and_can_be_answered_from_elsewhere(
    visitor: Visitor, demo: Demo
) -> None:
    page = visitor.tab()
    asked_of(page, "Asked for Long", demo)
    page.reload()
    expect_the_question(page)
    page.evaluate("window.never = 'reloaded'")
    visitor.server_is_gone = True
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    demo.start()
    expect_the_question(page)  # nothing has taken it away
    other = visitor.tab(f"#{comic_of(page)}")
    expect_the_question(other)  # of the new server
    answer_by_command(demo, comic_of(page), "Print it")
    for tab in (page, other):
        expect_no_question(tab)
        expect_printed(tab, demo)
    assert page.evaluate("window.never") == "reloaded"


@pytest.mark.own_server
def test_what_is_answered_while_the_server_is_down_is_done_when_it_is_back(visitor: Visitor, demo: Demo) -> None:
    page = visitor.tab()
    asked_of(page, "Asked in Vain", demo)
    visitor.server_is_gone = True
    assert demo.end(signal.SIGKILL) == -signal.SIGKILL
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#trouble")).to_have_text("The server does not answer.")
    expect_the_question(page)
    answer_by_command(demo, comic_of(page), "Print it")
    demo.start()
    expect_no_question(page)
    expect_printed(page, demo)
