"""The routes of the web app itself: what they refuse. (What they serve, the browser shows.)"""

from __future__ import annotations

import httpx
import pytest

from tests.browser.support import Demo

pytestmark = pytest.mark.slow


def test_only_what_a_completed_job_has_made_is_served(demo: Demo) -> None:
    comic = httpx.post(f"{demo.url}comics", json={}).json()["comic"]
    for path in (
        f"pictures/{comic}:book",  # held: it cannot be there yet
        f"books/{comic}:book/pdf",
        f"pictures/{comic}:plot",  # no picture, ever
        f"books/{comic}:plot/pdf",
        f"pictures/{comic}:nobody",
        "pictures/..%2Fjobs.db",
        "pictures/%00",
    ):
        assert httpx.get(demo.url + path).status_code == 404, path
    assert httpx.get(f"{demo.url}books/{comic}:book/exe").status_code == 422


@pytest.mark.parametrize(
    "wish", [{"title": ""}, {"title": " \u2028 "}, {"title": "x" * 51}, {"pages": 0}, {"pages": "many"}, [], "x"]
)
def test_a_wish_that_cannot_be_is_refused(demo: Demo, wish: object) -> None:
    assert httpx.post(f"{demo.url}comics", json=wish).status_code == 422


@pytest.mark.own_server
def test_a_page_of_another_site_can_start_nothing(demo: Demo) -> None:
    # What a foreign page can send without asking first: a form, or text. And it may call this machine by its own name.
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = httpx.post(f"{demo.url}comics", content="{}", headers={"content-type": kind})
        assert answer.status_code == 422, kind
    for path in ("", "comics", "jobs/v1/jobs"):
        assert httpx.get(demo.url + path, headers={"host": "attacker.example"}).status_code == 400, path
    assert httpx.get(f"{demo.url}jobs/v1/jobs?limit=1").json()["items"] == []


def test_the_page_comes_with_a_strict_policy(demo: Demo) -> None:
    policy = httpx.get(demo.url).headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
