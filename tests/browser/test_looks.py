"""How the page looks and reads: axe has nothing to say, nothing is cut off, and pictures of it are taken."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.looks import look
from tests.browser.support import Demo, Visitor
from tests.browser.test_comic import draw, expect_the_end, expect_the_middle

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("browser")]


@pytest.mark.own_server(quick=False)
def test_every_state_of_the_page_is_accessible_in_light_and_dark(visitor: Visitor, demo: Demo, tmp_path: Path) -> None:
    folder = Path(os.environ.get("ASYNCJOBS_SCREENSHOTS", tmp_path))
    page = visitor.tab()
    draw(page)
    expect_the_middle(page)
    look(page, "middle", folder)
    page.get_by_role("button", name="Stop drawing").click()
    demo.go_on()
    expect(page.locator(".paper .picture[data-state=cancelled]")).to_have_count(2)
    look(page, "stopped", folder)
    page.get_by_role("button", name="Go on drawing").click()
    expect_the_end(page)
    expect(page.locator("#question")).to_be_visible()
    look(page, "end", folder)
    expect(page.locator("#news")).to_have_text("The comic is complete.")
    page.get_by_role("link", name="The comic").click()
    expect(page.locator("#shelf li")).to_have_count(1)
    look(page, "shelf", folder)


def test_what_is_inline_or_from_elsewhere_is_refused_and_noticed(visitor: Visitor) -> None:
    page = visitor.tab()
    for markup in ("<p style='color: red'>", "<img src='https://example.org/x.png' alt=''>"):
        with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            page.evaluate("(markup) => document.body.insertAdjacentHTML('beforeend', markup)", markup)
    assert any("inline style" in complaint for complaint in visitor.complaints)
    assert "request to elsewhere: https://example.org/x.png" in visitor.complaints
    visitor.complaints.clear()


def test_a_comic_is_drawn_and_opened_with_the_keyboard_alone(visitor: Visitor, demo: Demo) -> None:
    demo.go_on()
    page = visitor.tab()
    focused = page.locator(":focus")
    for name in ("The comic", "The film", "Title"):
        page.keyboard.press("Tab")
        expect(focused).to_have_accessible_name(name)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The Speckled Band")).to_be_focused()
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))
    expect(page.locator("#question")).to_be_visible()
    for name in ("Download PDF", "Download CBZ", "Print it", "Not now", "The cover", "Page 1: The Only Scene"):
        page.keyboard.press("Tab")
        expect(focused).to_have_accessible_name(name)
