"""The script of the guide of the web follows a group in a browser."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.architecture.pages import blocks_of
from tests.uvicorn_program import serving


@pytest.mark.slow
def test_the_script_of_the_guide_shows_progress_and_ends(browser: Browser, tmp_path: Path) -> None:
    blocks = blocks_of("guides/web")
    [script] = [block.text for block in blocks if block.kind == "js"]
    app = next(block.text for block in blocks if block.name == "app.py")
    (tmp_path / "app.py").write_text(app)
    with serving("app:app", tmp_path) as address, browser.new_context() as context:
        assert httpx.post(f"{address}/comics/fog").status_code == 202
        page = context.new_page()
        page.goto(f"{address}/openapi.json")
        page.evaluate(f"() => {{ {script} window.shown = []; follow('comics', (event) => shown.push(event.type)); }}")
        page.wait_for_function("shown.includes('completed')", timeout=20_000)
        assert page.evaluate("shown") == ["progress", "completed"]
