"""Commands that look: what they show people, and what they give programs."""

from __future__ import annotations

import re

import pytest

from asyncjobs import DaemonConfig, JobExecutionError, JobStatus, SQLiteConfig, SyncJobs
from asyncjobs.cli.live_board import Board, board_lines
from asyncjobs.cli.output import Output
from tests.cli.support import PATIENCE, Shell

DB = ("--db", "jobs.db")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A store with jobs that have metadata, one of which failed, and no worker."""
    shell = Shell(tmp_path_factory.mktemp("labelled"))
    with SyncJobs(SQLiteConfig(db_path=shell.folder / "jobs.db"), daemon=DaemonConfig(shutdown_timeout=0)) as jobs:
        bad = jobs.submit_job(divmod, 1, 0, job_id="bad", metadata={"kind": "bad"}, max_retries=0)
        with pytest.raises(JobExecutionError):
            bad.result(timeout=PATIENCE)
        for job_id, metadata in {
            "a": {"kind": "crew", "n": 3},
            "b": {"kind": "crew", "n": None},
            "c": {"kind": "flow", "n": "3", "text": "x=y"},
        }.items():
            jobs.submit_job(abs, 1, job_id=job_id, metadata=metadata, delay=3600)
    return shell


def test_a_table_of_jobs_for_people(finished: Shell) -> None:
    shown = finished.good("-o", "table", *DB, "jobs", "list", "--group", "noir", "--oldest")
    heads, *rows = shown.lines
    assert heads.split() == ["ID", "NAME", "STATUS", "TRY", "AGE", "TIME", "ERROR"]
    assert [row.split()[:4] for row in rows] == [
        ["plot", "add", "✔", "completed"],
        *(["panel_" + str(i), "add", "✔", "completed"] for i in range(3)),
        ["panel_bad", "fail", "✖", "failed"],
        ["page", "add", "↷", "skipped"],
    ]
    assert all(len(line) <= 80 for line in shown.lines)
    assert "ValueError: the\\npen" in rows[4]
    assert "because of panel_bad" in rows[5]
    assert "\x1b" not in shown.out  # neither colours nor what a job said
    retry = "asyncjobs --db jobs.db jobs retry --failed --group noir --yes"  # there is no terminal on which to ask
    assert shown.err == f"• 6 jobs · retry the failed: {retry}\n"


def test_a_pipe_gets_lines_with_tabs(finished: Shell) -> None:
    shown = finished.good(*DB, "-q", "jobs", "list", "--status", "failed")
    assert shown.err == ""
    [row] = shown.lines
    assert row.split("\t")[:4] == ["panel_bad", "fail", "✖ failed", "1/1"]


def test_ascii_where_the_terminal_knows_no_more(finished: Shell) -> None:
    shown = finished.good(*DB, "jobs", "list", "--status", "failed", PYTHONIOENCODING="ascii")
    assert "x failed" in shown.out


COLOUR = re.compile(r"\x1b\[(\d+)m")


@pytest.mark.parametrize(
    "command",
    ["jobs list", "jobs show page", "jobs show plot", "groups show noir", "groups watch noir", "dag show noir"],
)
def test_a_colour_ends_where_its_word_does(finished: Shell, command: str) -> None:
    shown = finished.run("--color", "always", "-o", "table", *DB, *command.split())
    coloured = [codes for line in shown.lines if (codes := COLOUR.findall(line))]
    assert coloured
    for codes in coloured:
        assert set(codes[1::2]) == {"0"}, "a colour goes on into what follows"
        assert len(codes) % 2 == 0


def test_a_colour_of_the_live_table_ends_where_its_mark_does() -> None:
    board = Board([])
    board.status = {"a": JobStatus.FAILED, "b": JobStatus.IN_PROGRESS}
    board.name = {"a": "draw", "b": "draw"}
    counts, running = board_lines(Output("table", colour=True), board)
    assert COLOUR.findall(counts) == ["36", "0", "31", "0"]
    assert COLOUR.findall(running) == ["36", "0"]


def test_json_of_jobs_has_whole_ids_and_moments_in_utc(finished: Shell) -> None:
    document = finished.good(*DB, "--json", "jobs", "list", "--status", "failed", "--status", "skipped").json
    assert document["schema"] == 1
    assert [(item["id"], item["status"], item["because"]) for item in document["items"]] == [
        ("page", "skipped", "panel_bad"),
        ("panel_bad", "failed", None),
    ]
    assert document["items"][1]["error"]["error_type"] == "ValueError"
    assert "panel_bad" in document["items"][0]["depends_on"]
    assert document["items"][1]["depends_on"] == []
    assert document["items"][1]["created_at"].endswith("Z")
    lines = finished.good(*DB, "-o", "ndjson", "jobs", "list", "--group", "noir").lines
    assert len(lines) == 6


def test_json_of_a_listing_says_where_it_continues(finished: Shell) -> None:
    def listed(*options: str) -> tuple[list[str], str | None]:
        document = finished.good(*DB, "--json", "jobs", "list", "--group", "noir", "--oldest", *options).json
        return [item["id"] for item in document["items"]], document["next"]

    everything, end = listed()
    assert (len(everything), end) == (6, None)
    first, following = listed("-n", "4")
    assert first == everything[:4]
    rest, end = listed("-n", "4", "--cursor", str(following))
    assert (rest, end) == (everything[4:], None)
    assert listed("-n", "6") == (everything, None), "it has all of them, and none follows"
    refused = finished.run(*DB, "jobs", "list", "--cursor", "nothing")
    assert (refused.code, "cursor" in refused.err) == (2, True)
    for limit, after in ((1, "noir"), (2, None)):
        assert finished.good(*DB, "--json", "groups", "list", "-n", str(limit)).json["next"] == after


def test_only_a_listing_that_goes_on_is_said_to_have_more(finished: Shell) -> None:
    assert "(more: -n 50)" in finished.good(*DB, "jobs", "list", "--group", "noir", "-n", "5").err
    assert "more" not in finished.good(*DB, "jobs", "list", "--group", "noir", "-n", "6").err


def test_a_job_with_all_that_belongs_to_it(finished: Shell) -> None:
    shown = finished.good(*DB, "jobs", "show", "panel_bad")
    assert shown.lines[0] == "✖ failed  panel_bad  app:fail  group noir"
    text = shown.out
    assert "blocks     ↷ page" in text
    assert "attempts   1 failed" in text
    assert "error      ValueError: the\\npen\\x1b[31m slipped" in text
    assert "raise ValueError(message)" in text
    item = finished.good(*DB, "--json", "jobs", "show", "page").json
    assert (item["needs"], item["why"]["code"]) == (["panel_bad"], "skipped")


@pytest.mark.parametrize(
    ("fields", "ids"),
    [
        (["kind=crew"], ["a", "b"]),
        (["kind=crew", "n=3"], ["a"]),
        (["n=3"], ["a", "c"]),
        (["n=3", "n=3"], ["a", "c"]),
        (["n=null"], ["b"]),
        (["text=x=y"], ["c"]),
        (["kind=crew", "--status", "failed"], []),
        (["kind=Crew"], []),
    ],
    ids=str,
)
def test_jobs_are_listed_by_their_metadata(labelled: Shell, fields: list[str], ids: list[str]) -> None:
    options = [part for field in fields for part in (("--metadata", field) if "=" in field else (field,))]
    shown = labelled.good(*DB, "--json", "jobs", "list", "--oldest", *options)
    assert [item["id"] for item in shown.json["items"]] == ids


@pytest.mark.parametrize(
    ("options", "problem", "fix"),
    [
        (["kind"], "--metadata cannot be 'kind'; allowed: KEY=VALUE", "--metadata kind=VALUE"),
        ([""], "--metadata cannot be ''; allowed: KEY=VALUE", "--metadata kind=VALUE"),
        (["=crew"], "--metadata =crew has no key", "--metadata kind=crew, for example"),
        (["n=3", "n=4"], "--metadata n cannot be both '3' and '4': a job must match all", "give one value"),
        (["n=" + "x" * 513], "--metadata n: its value has 513 characters, and at most 512", "filter by other"),
        ([f"k{i}=x" for i in range(21)], "--metadata has 21 keys, and at most 20 can be compared", "filter by fewer"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_metadata_that_cannot_be_compared_are_refused(
    labelled: Shell, options: list[str], problem: str, fix: str
) -> None:
    ran = labelled.run(*DB, "jobs", "list", *(part for option in options for part in ("--metadata", option)))
    assert (ran.code, ran.out) == (2, "")
    shown, hint = ran.err.splitlines()
    assert problem in shown
    assert fix in hint


def test_no_command_is_named_that_would_retry_jobs_with_other_metadata(labelled: Shell) -> None:
    shown = labelled.good(*DB, "jobs", "list", "--metadata", "kind=bad")
    assert len(shown.lines) == 1
    assert shown.err == "• 1 job\n"
    assert "retry the failed" in labelled.good(*DB, "jobs", "list", "--status", "failed").err


def test_why_a_job_does_not_run(finished: Shell) -> None:
    assert "why        it is not due yet" in finished.good(*DB, "jobs", "show", "later").out


def test_an_id_may_be_cut_while_it_is_the_only_one(finished: Shell) -> None:
    assert finished.good(*DB, "jobs", "result", "panel_0").json == 3
    assert finished.good(*DB, "jobs", "result", "plot").json == 2
    assert finished.good(*DB, "jobs", "show", "chat").lines[0].endswith("chatter  app:talk")
    ran = finished.run(*DB, "jobs", "show", "panel")
    assert ran.code == 2
    assert ran.err == "✖ 'panel' is a prefix of several ids: panel_0, panel_1, panel_2, panel_bad\n"


def test_logs(finished: Shell) -> None:
    shown = finished.good(*DB, "jobs", "logs", "chatter")
    assert [line.split(" ", 1)[1] for line in shown.lines] == [f"INFO    #1 line {i}" for i in range(3)]


def test_groups(finished: Shell) -> None:
    assert finished.good(*DB, "groups", "list").lines[0].split("\t") == ["noir", "4/6", "67 %", "0", "1", "0"]
    assert finished.good(*DB, "groups", "show", "noir").lines[0].startswith("noir  ████████████████░░░░░░░░ 4/6")
    ran = finished.run(*DB, "groups", "show", "noire")
    assert (ran.code, "did you mean 'noir'?" in ran.err) == (3, True)


def test_the_graph_as_a_tree(finished: Shell) -> None:
    shown = finished.good(*DB, "dag", "show", "noir")
    assert shown.lines == [
        "✔ completed add plot",
        "└─ add ×3  ✔ completed 3",
        "✖ failed fail panel_bad",
        "└─ ↷ skipped add page",
    ]
    assert shown.err == "• 6 jobs, 4 dependencies\n"
    expanded = finished.good(*DB, "dag", "show", "noir", "--expand").lines
    assert len(expanded) == 6
    assert expanded[1:3] == ["├─ ✔ completed add panel_0", "├─ ✔ completed add panel_1"]


def test_the_graph_for_other_programs(finished: Shell) -> None:
    dot = finished.good(*DB, "dag", "show", "noir", "--format", "dot").out
    assert dot.startswith("digraph jobs {")
    assert '"panel_bad" -> "page";' in dot
    assert '"panel_bad" [label="fail panel_bad", fillcolor=salmon];' in dot
    mermaid = finished.good(*DB, "dag", "show", "noir", "--format", "mermaid").out
    assert "n4 --> n5" in mermaid
    assert 'n4["fail panel_bad"]:::failed' in mermaid
    document = finished.good(*DB, "dag", "show", "page", "--format", "json").json
    assert document["edges"] == [{"parent": "panel_bad", "child": "page", "optional": False}]


def test_events(finished: Shell) -> None:
    shown = finished.good(*DB, "events", "tail", "--no-follow", "--job", "panel_bad")
    assert [line.split()[4] for line in shown.lines] == ["submitted", "started", "failed"]
    only = finished.good(*DB, "--json", "events", "tail", "--no-follow", "--type", "log").lines
    assert len(only) == 3


def test_watching_what_has_ended_ends(finished: Shell) -> None:
    ran = finished.run(*DB, "groups", "watch", "noir")
    assert ran.code == 1  # one of them failed
    assert "panel_bad  failed" in ran.out
    assert finished.run(*DB, "jobs", "watch", "plot").code == 0
    ran = finished.run(*DB, "jobs", "watch", "later", "--timeout", "0.2s")
    assert (ran.code, ran.err) == (5, "✖ did not end within 0.2s\n  → the jobs continue\n")


@pytest.mark.parametrize("command", ["--help", "jobs --help", "daemon --help", "daemon start --help", "-h"])
def test_help(finished: Shell, command: str) -> None:
    assert finished.good(*command.split()).out.startswith("Usage: asyncjobs")


def test_versions_and_completion(finished: Shell) -> None:
    assert finished.good("--version").out.startswith("asyncjobs ")
    assert "sqlite" in finished.good("--json", "version").json
    assert "_ASYNCJOBS_COMPLETE" in finished.good("completion", "bash").out


def test_what_every_command_understands_may_stand_behind_it(finished: Shell) -> None:
    before = finished.good("--db", "jobs.db", "--json", "jobs", "list").json
    assert finished.good("jobs", "list", "--db", "jobs.db", "--json").json == before
    assert finished.good("jobs", "list", "--db", "jobs.db", "-o", "ndjson", "-n", "1").json == before["items"][0]
    assert finished.run("config", "show", "--app", "nothing").code == 2
