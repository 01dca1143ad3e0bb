"""Define the tree of commands. Each is imported when it is called, so ``asyncjobs --version`` loads little."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from asyncjobs.cli.context import Context
from asyncjobs.cli.examples import EXAMPLES
from asyncjobs.cli.failures import Failure, render_usage
from asyncjobs.cli.signals import Interruption
from asyncjobs.daemon_threads import call_is_abandoned
from asyncjobs.spellings import nearest

_COMMANDS = {
    "aws": ("asyncjobs.cli.aws:aws", "Prepare AWS for the SQS store: init, template, policy."),
    "backup": ("asyncjobs.cli.upkeep:backup", "Copy the store while it is in use."),
    "bench": ("asyncjobs.cli.bench:bench", "Benchmark this machine: jobs per second, latency."),
    "compact": ("asyncjobs.cli.upkeep:compact", "Return the space of removed jobs to the file system."),
    "completion": ("asyncjobs.cli.completion:completion", "Print the completion script for a shell."),
    "config": ("asyncjobs.cli.config:config", "Show, create and validate the configuration."),
    "daemon": ("asyncjobs.cli.daemon:daemon", "Run jobs: start, stop, status, logs."),
    "dag": ("asyncjobs.cli.dag:dag", "Draw the graph of jobs."),
    "demo": ("asyncjobs.cli.demo:demo", "Run a short demo: a graph of jobs, live."),
    "doctor": ("asyncjobs.cli.doctor:doctor", "Diagnose problems and suggest fixes."),
    "events": ("asyncjobs.cli.events:events", "Follow the event log."),
    "explain": ("asyncjobs.cli.explain:explain", "Explain the code of an error, and its fix."),
    "groups": ("asyncjobs.cli.groups:groups", "List, show and watch groups of jobs."),
    "jobs": ("asyncjobs.cli.jobs:jobs", "List, show, watch, submit, answer, cancel, retry, remove."),
    "legacy": ("asyncjobs.cli.legacy:legacy", "Import and export files of the old job tracker."),
    "version": ("asyncjobs.cli.version:version", "Show installed versions."),
    "web": ("asyncjobs.cli.web:web", "Serve the HTTP interface."),
}


_LINE = "asyncjobs.line"
"""The arguments as they were given, in the ``meta`` of a context."""
_FORMS = ["auto", "table", "plain", "json", "ndjson"]


class Lazy(click.Group):
    """A group whose commands are imported by name; an unknown name is refused with the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry[0].partition(":")
        return completed(getattr(import_module(module), attribute), cmd_name)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the line as far as the command."""
        line = tuple(args)
        try:
            ctx = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise render_usage(error, line) from None
        ctx.meta[_LINE] = line
        return ctx

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; report unknown options and interruptions as failures."""
        interruption: object = ctx.obj  # until the callback of the root puts the Context there
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            raise render_usage(_with_suggestion(error), ctx.meta[_LINE]) from None
        except click.UsageError as error:
            raise render_usage(error, ctx.meta[_LINE]) from None
        except KeyboardInterrupt:
            raise _interrupted(ctx, interruption) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in ``--help`` without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in sorted(_COMMANDS.items())])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Resolve a command, suggesting the nearest name for an unknown one."""
        return resolve(self, ctx, args, super().resolve_command)


def _with_suggestion(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return the error with the present name of an option: click suggests similar names only."""
    params = [] if error.ctx is None else error.ctx.command.get_params(error.ctx)
    near = nearest(error.option_name, [option for param in params for option in param.opts])
    if near is None:
        return error
    message = f"No such option {error.option_name!r}. Did you mean {near!r}?"
    return click.NoSuchOption(error.option_name, message, ctx=error.ctx)


def _interrupted(ctx: click.Context, interruption: object) -> Failure:
    code, sentence = 130, "interrupted"
    if isinstance(interruption, Interruption):
        code, sentence = interruption.exit_code, interruption.sentence
    return Failure(sentence, exit_code=code, hint=getattr(ctx.obj, "when_interrupted", None), code="interrupted")


class Named(click.Group):
    """A group of sub-commands that refuses an unknown name with the nearest one."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a sub-command that also accepts the global options."""
        command = super().get_command(ctx, cmd_name)
        return None if command is None else completed(command, f"{self.name} {cmd_name}")

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Resolve a command, suggesting the nearest name for an unknown one."""
        return resolve(self, ctx, args, super().resolve_command)


def completed(command: click.Command, path: str) -> click.Command:
    """Let a command accept the global options, and show its examples in ``--help``."""
    if not isinstance(command, click.Group):
        command.epilog = "\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in EXAMPLES[path])])
    return with_shared_options(command)


def with_shared_options(command: click.Command) -> click.Command:
    """Accept the global options after a command, too: ``asyncjobs jobs list --json``."""
    if not isinstance(command, click.Group) and not any(param.name == "shared_db" for param in command.params):
        taken = {option for param in command.params for option in param.opts}
        shared = [
            click.Option(["--db", "shared_db"], metavar="PATH", help="The database file.", **_shared("sqlite.db_path")),
            click.Option(
                ["--config", "shared_config"], metavar="FILE", help="A configuration file.", **_shared("config")
            ),
            click.Option(["--app", "shared_app"], metavar="MODULE:ATTR", help="The JobProcessor.", **_shared("app")),
            click.Option(
                ["-o", "--output", "shared_output"], type=click.Choice(_FORMS), help="Output format.", **_shared("form")
            ),
            click.Option(["--json", "shared_json"], is_flag=True, help="JSON on standard output.", **_shared("json")),
        ]
        command.params += [option for option in shared if taken.isdisjoint(option.opts)]
    return command


def _shared(what: str) -> dict[str, Any]:
    def given(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        context: Context = ctx.find_root().obj
        if not value:
            return
        if what == "config":
            context.use_config(value)
        elif what == "form" or what == "json":
            context.answer_as("json" if what == "json" else value)
        else:
            context.add_flags({what: value})

    return {"expose_value": False, "is_eager": True, "callback": given}


def resolve(group: click.Group, ctx: click.Context, args: list[str], find: Any) -> Any:
    """Resolve a command with ``find``; suggest the nearest name for an unknown one."""
    try:
        return find(ctx, args)
    except click.UsageError as error:
        near = nearest(args[0], group.list_commands(ctx))
        if near is not None and "Did you mean" not in error.message:
            message = f"{error.message.rstrip('.')}. Did you mean {near!r}?"
            raise click.UsageError(message, error.ctx) from None
        raise


@click.command(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--db", metavar="PATH", help="The database file.")
@click.option("--app", metavar="MODULE:ATTR", help="The JobProcessor of your program.")
@click.option("--config", metavar="FILE", help="The configuration file to use instead of the project's.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(_FORMS),
    default="auto",
    help="Output format. auto: a table on a terminal, otherwise tab-separated lines.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --output json.")
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="When to use colours.")
@click.option("-q", "--quiet", is_flag=True, help="Print only data and errors.")
@click.option("-v", "--verbose", count=True, help="Show debug logs.")
@click.version_option(package_name="asyncjobs-dag", prog_name="asyncjobs", message="%(prog)s %(version)s")
@click.pass_context
def root(
    ctx: click.Context,
    db: str | None,
    app: str | None,
    config: str | None,
    output: Any,
    as_json: bool,
    color: str,
    quiet: bool,
    verbose: int,
) -> None:
    """Manage a durable job graph for asyncio programs. No server is needed."""
    colour = None if color == "auto" else color == "always"
    if colour is not None:
        ctx.color = colour
    ctx.obj = Context(
        config=config,
        flags={"sqlite.db_path": db, "app": app},
        form="json" if as_json else output,
        colour=colour,
        quiet=quiet,
        verbose=verbose,
    )


def main() -> None:
    """Run the command line."""
    interruption = Interruption()
    code: object = 0
    try:
        root.main(prog_name="asyncjobs", obj=interruption)
    except SystemExit as error:
        code = error.code
        raise
    except KeyboardInterrupt:  # another one, while the line about the first was printed
        code = interruption.exit_code
        sys.exit(interruption.exit_code)
    except BrokenPipeError:  # "asyncjobs jobs list | head": the reader has seen enough
        sys.stderr.close()
        sys.exit(0)
    finally:
        number = code if isinstance(code, int) else 0
        interruption.end_by_another(number)
        if call_is_abandoned():
            # A module that hangs while it is imported may be printing. Python aborts a process at whose end a thread
            # holds the lock of a standard stream; the output of this command has been flushed line by line.
            os._exit(number)
