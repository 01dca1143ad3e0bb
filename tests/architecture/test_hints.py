"""Every message that names a command, an option or a call is listed here, with the scenario that provokes it and does
what it says, as it is printed; or with the reason why there is nothing to run.

A message that is new, or says something else, fails until it has its line: write what follows it into ``hints/``.
"""

# ruff: noqa: E501 - messages are listed as they are
from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asyncjobs
from tests.architecture.hints import calls, commands, runs, steps, tracker, values, web
from tests.architecture.hints.following import Hints, Words

SOURCE = Path(asyncjobs.__file__).parent
NAMES = re.compile(
    r"\w\([^)]*\)"  # a call
    r"|(?<![\w-])--[a-z]|\(more: -n"  # an option
    r"|\basyncjobs (?:aws|backup|bench|compact|config|daemon|dag|demo|doctor|events|explain|groups|jobs|version|web)\b"
    r"|\b(?:pip install|mkdir|chmod|rm|python -[cm]) "
    r"|\bawait [a-z]|\basync with |'with |\bPOST \{"
    r"|\b[a-z_]+=(?:…|\[|\(|\"|'|True|False)"  # an argument
)
SQL = re.compile(
    r"\s*(?:--[^\n]*\s+)*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|WITH|PRAGMA|DROP|ALTER|ON CONFLICT)\b"
    r"|.*\b(?:SELECT|json_each|FROM|CASE WHEN|ifnull)\b",
    re.DOTALL,
)
NO_MESSAGES = frozenset(
    {"Option", "argument", "compile", "execute", "fullmatch", "option", "search", "sub", "version_option"}
)
"""What calls of these are given declares options, patterns and statements."""


NAME = Words("how an object, or what was called, is shown")

FOLLOWED = Words("followed by tests/web/test_client.py: test_what_the_hint_says_to_pass_instead_arrives")

OPENED = Words("followed by tests/conformance/test_gates.py: test_a_retry_opens_it_again")

EXPLAINED = Words("followed by tests/cli/test_explain.py")

AWS = Words("followed by tests/cli/test_aws.py, where the emulator is")

TABLE = Words("a part of a request to DynamoDB, which nobody sees")

SQS = Words("tried by make test-sqs, where the emulator is")

LISTED: dict[tuple[str, str], Callable[[Hints], Any] | Words] = {
    **runs.LISTED,
    **tracker.LISTED,
    **web.LISTED,
    ("clock.py", "asyncjobs.testing.ManualClock(), for tests"): calls.options,
    ("cli/legacy.py", "name a file with --db"): SQS,
    ("backends/select.py", "put it into the settings: SQLiteConfig(db_path=…)"): calls.stores,
    ("config/sqs.py", "give the name instead of the ARN, and the region as region='…'"): calls.settings_of_sqs,
    ("config/sqs.py", "name an S3 bucket for larger values: bucket='…'"): calls.settings_of_sqs,
    ("backends/sqs/bucket.py", "SQSConfig(bucket={})"): SQS,
    ("backends/sqs/checkup.py", "let this table have a queue of its own: SQSConfig(queue_url=…)"): SQS,
    ("backends/sqs/checkup.py", "processes that have the store open do it: asyncjobs daemon start -d"): SQS,
    ("backends/sqs/clients.py", "anyio.run(main), without trio"): SQS,
    (
        "backends/sqs/errors.py",
        "'asyncjobs aws init' makes what is missing; SQSConfig(create=True) does, too, for tests",
    ): SQS,
    (
        "backends/sqs/errors.py",
        "'asyncjobs aws policy --for worker' (or submitter, reader) prints the smallest policy that permits it",
    ): SQS,
    ("backends/sqs/errors.py", "SQSConfig(region=…), or AWS_DEFAULT_REGION"): SQS,
    ("backends/sqs/payloads.py", "name an S3 bucket for larger values: SQSConfig(bucket=…)"): SQS,
    ("backends/sqs/schema.py", "delete that index; 'asyncjobs aws init' makes it anew"): SQS,
    ("backends/sqs/schema.py", "name another table: SQSConfig(table=…)"): SQS,
    ("backends/sqs/expressions.py", "attribute_exists({})"): TABLE,
    ("backends/sqs/expressions.py", "attribute_not_exists({})"): TABLE,
    ("backends/sqs/expressions.py", "begins_with(#r, :a)"): TABLE,
    ("backends/sqs/expressions.py", "{} = list_append(if_not_exists({}, {}), {})"): TABLE,
    ("backends/sqs/heartbeat.py", "attribute_exists(pk) AND attribute_not_exists(gone)"): TABLE,
    ("backends/sqs/schema.py", "attribute_not_exists(pk)"): TABLE,
    ("settings.py", "the flag --db"): Words("names where a value comes from"),
    ("backends/sqlite/backup.py", "make it first (mkdir -p {}), or choose another path"): calls.stores,
    (
        "backends/sqlite/files.py",
        "choose a local disk; SQLiteConfig(allow_network_filesystem=True) opens it at your own risk",
    ): calls.stores,
    (
        "backends/sqlite/files.py",
        "give the permission (chmod u+rw {}), run as its owner, or choose another path",
    ): calls.stores,
    ("backends/sqlite/files.py", "make it first (mkdir -p {}), or choose another path"): calls.stores,
    ("backends/sqlite/job_pages.py", "datetime.now(UTC), for example"): calls.stores,
    ("cli/job_actions.py", "--arg {} is not NAME=VALUE"): commands.a_store_without_a_worker,
    ("cli/job_actions.py", "--arg {}"): Words("names what was given"),
    ("cli/job_actions.py", "the job continues: asyncjobs jobs watch {}"): commands.a_wait_that_is_interrupted,
    ("cli/job_actions.py", "--args must be a JSON list or object"): commands.a_store_without_a_worker,
    ("cli/job_actions.py", "--older cannot be combined with ids or --group"): commands.a_store_without_a_worker,
    ("cli/job_actions.py", "asyncjobs jobs list shows the jobs"): commands.a_store_without_a_worker,
    ("cli/job_actions.py", "pass --yes to {}"): commands.a_store_without_a_worker,
    ("cli/aws.py", "nothing was created; to create it:  asyncjobs aws init"): AWS,
    (
        "cli/aws.py",
        "set backend = 'sqs' in asyncjobs.toml, or ASYNCJOBS_BACKEND=sqs, or name a program that uses SQSConfig: --app module:attribute",
    ): AWS,
    ("cli/config.py", "--force overwrites it"): commands.a_configuration,
    ("cli/gate_actions.py", "VALUE and --json cannot be combined"): commands.gates,
    ("cli/gate_actions.py", "VALUE or --json"): commands.gates,
    (
        "cli/gate_actions.py",
        "leave it out to approve, or reject it: asyncjobs jobs reject {} --reason no",
    ): commands.gates,
    ("cli/gate_values.py", "give the answer as JSON: --json VALUE"): commands.gates,
    ("cli/gate_views.py", "asyncjobs jobs answer {}{}"): commands.gates,
    ("cli/context.py", "--app module:attribute"): Words("no command asks for the application without one being named"),
    (
        "cli/context.py",
        "--app module:attribute, or --allow MODULE for each module whose functions are jobs",
    ): commands.a_daemon_with_jobs,
    (
        "cli/context.py",
        "start a daemon: pass your program's JobProcessor with --app, or the modules of its jobs with --allow",
    ): commands.a_module_that_is_not_here,
    (
        "cli/context.py",
        "submit a job first, or choose another store with --db PATH",
    ): commands.a_store_without_a_worker,
    ("cli/daemon.py", "asyncjobs daemon stop --now{} hands its jobs back immediately"): commands.a_daemon_with_jobs,
    (
        "cli/daemon_http.py",
        "set {} to the token; --drop-token restarts it without one, and then every user of this machine may use it",
    ): Words("followed by tests/cli/test_web_token.py: test_a_restart_does_not_lose_it_unnoticed"),
    ("cli/daemon.py", "check who created it, then remove it: rm {}"): commands.a_state_file_that_is_a_link,
    ("cli/daemon_name.py", " --name {}"): Words("a part of other commands, which are run"),
    ("cli/demo.py", "The store was temporary. To use your own:  asyncjobs daemon start --help"): commands.the_demo,
    ("cli/doctor.py", "asyncjobs jobs show {}"): commands.doctor,
    ("backends/sqlite/checkup.py", "chmod 600 {}"): commands.doctor,
    ("backends/sqlite/checkup.py", "move it to a local disk: --db PATH"): commands.doctor,
    ("cli/doctor.py", "start the daemon with --allow and the module's name"): commands.jobs_that_nobody_may_run,
    ("cli/doctor.py", "{} failed: asyncjobs jobs list --status failed"): commands.a_daemon_with_jobs,
    ("cli/events.py", "following new events; for earlier ones: --after 0"): commands.events_from_now_on,
    ("cli/explain.py", "asyncjobs explain lists all codes"): EXPLAINED,
    ("cli/failures.py", "asyncjobs explain {}"): EXPLAINED,
    ("cli/groups.py", "asyncjobs groups list shows the groups"): commands.a_store_without_a_worker,
    ("cli/hints.py", "asyncjobs jobs retry {}"): commands.a_daemon_with_jobs,
    ("cli/hints.py", "asyncjobs jobs retry --failed{}{}"): commands.a_daemon_with_jobs,
    (
        "cli/hints.py",
        "choose another --id, or inspect that job: asyncjobs jobs show {}",
    ): commands.a_store_without_a_worker,
    (
        "cli/hints.py",
        "the job continues: asyncjobs jobs watch {}, or end it with asyncjobs jobs cancel {}",
    ): commands.a_store_without_a_worker,
    ("cli/hints.py", "fix the cause, then retry it: asyncjobs jobs retry {}"): commands.a_daemon_with_jobs,
    ("cli/job_selection.py", "--metadata {}"): Words("names what was given"),
    ("cli/job_selection.py", "--metadata {}=VALUE"): commands.a_store_without_a_worker,
    ("cli/job_views.py", " (more: -n {})"): commands.a_store_without_a_worker,
    ("cli/job_views.py", "--wait waits for it"): commands.a_daemon_with_jobs,
    ("cli/job_views.py", "give a job id or --group"): commands.a_store_without_a_worker,
    ("cli/job_views.py", "asyncjobs jobs list shows the jobs"): commands.a_store_without_a_worker,
    (
        "cli/web.py",
        "--token new generates a token; {} in the environment gives your own",
    ): commands.the_web_for_others,
    ("client/errors.py", 'JobsClient(base_url, token="…") with a token that the server knows'): web.who_may_ask,
    ("client/handle.py", "ClientHandle({})"): NAME,
    ("client/jobs.py", "JobsClient({})"): NAME,
    ("client/jobs.py", "await handle waits for it"): web.the_client,
    ("client/jobs.py", "poll_batch(ids) asks for jobs by id"): web.the_client,
    ("client/submission.py", "client.handle(job_id) stands for a job's result"): web.the_client,
    ("client/submission.py", "datetime.now(UTC) + …, or value.astimezone()"): web.the_client,
    (
        "client/submission.py",
        "remove it, and set it where the server defines the function: @job({}=…)",
    ): web.the_client,
    ("client/submission.py", "pass hex(value), and make the int from it in the job: int(text, 16)"): FOLLOWED,
    ("client/submission.py", "pass list(value.items()), and make the dict from it in the job"): FOLLOWED,
    ("client/submission.py", "pass str(value), and make the float from it in the job: float(text)"): FOLLOWED,
    ("client/submission.py", "{}; for a parameter of that name, pass args=(…), kwargs={{}: …}"): web.the_client,
    (
        "client/transport.py",
        "base_url is where asgi_app() is mounted, such as http://127.0.0.1:8000/jobs; a proxy in front of it may have answered",
    ): web.the_client,
    ("client/transport.py", "use it inside 'async with JobsClient(…)'"): web.the_client,
    (
        "core/codec/callables.py",
        "an object cannot be sent to another process; submit a module-level function that makes or finds it, or use local=True (it then runs in this process only)",
    ): calls.callables,
    (
        "core/codec/callables.py",
        "bind it to a name in the module of its class, or wrap it in a module-level function, or submit it with local=True (it then runs in this process only)",
    ): calls.callables,
    (
        "core/codec/callables.py",
        "collect its items in a list and return that, or report it with current_job().emit(…)",
    ): calls.callables,
    (
        "core/codec/callables.py",
        "move it to module level, or submit it with local=True (it then runs in this process only)",
    ): calls.callables,
    (
        "core/codec/callables.py",
        "pass the function itself and its arguments after it: submit_job(render, path)",
    ): calls.callables,
    (
        "core/codec/callables.py",
        "put it into a file, or submit it with local=True (it then runs in this process only)",
    ): calls.callables,
    ("core/codec/models.py", "model_dump()"): values.models_that_do_not_come_back,
    ("core/codec/models.py", "model_dump(mode='json')"): values.models_that_do_not_come_back,
    ("core/codec/refusals.py", "Decimal(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "Path(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "PurePath(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "UUID(int=value.int)"): values.subclasses_of_plain_types,
    (
        "core/codec/refusals.py",
        "a lock works inside one process only; use limit=(name, n) to bound how many jobs run at once",
    ): values.values_with_a_form_to_pass,
    (
        "core/codec/refusals.py",
        "await it first and pass the result, or submit it as a job and pass the handle",
    ): values.values_with_a_form_to_pass,
    ("core/codec/refusals.py", "bytearray(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "bytes(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "complex(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "date.fromisoformat(value.isoformat())"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "datetime.fromisoformat(value.isoformat())"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "dict(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "float(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "frozenset(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "int(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "list(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "pass bytes(…)"): values.values_with_a_form_to_pass,
    ("core/codec/refusals.py", "pass dict(…)"): values.values_with_a_form_to_pass,
    ("core/codec/refusals.py", "pass its Python value: value.item()"): values.values_of_libraries,
    ("core/codec/refusals.py", "pass list(…)"): values.values_with_a_form_to_pass,
    ("core/codec/refusals.py", "pass model.dict() to a parameter annotated as dict"): values.values_of_libraries,
    ("core/codec/refusals.py", "pass str(error), or its parts in a dict"): values.values_with_a_form_to_pass,
    ("core/codec/refusals.py", "pass str.__str__(value)"): values.subclasses_of_plain_types,
    (
        "core/codec/refusals.py",
        "pass value.get_secret_value() as a separate argument: it is stored as plain text",
    ): values.values_with_a_form_to_pass,
    ("core/codec/refusals.py", "set(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "str(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "time.fromisoformat(value.isoformat())"): values.subclasses_of_plain_types,
    (
        "core/codec/refusals.py",
        "timedelta(value.days, value.seconds, value.microseconds)",
    ): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "tuple(value)"): values.subclasses_of_plain_types,
    ("core/codec/refusals.py", "pass value.astype('datetime64[us]').item()"): values.values_of_libraries,
    ("core/codec/refusals.py", "pass value.astype('timedelta64[us]').item()"): values.values_of_libraries,
    ("core/codec/refusals.py", "pass float(value)"): values.values_of_libraries,
    ("core/codec/refusals.py", "pass complex(value)"): values.values_of_libraries,
    (
        "core/codec/refusals.py",
        "pass freezegun.api.real_datetime.fromisoformat(value.isoformat())",
    ): values.values_of_libraries,
    (
        "core/codec/refusals.py",
        "pass freezegun.api.real_date.fromisoformat(value.isoformat())",
    ): values.values_of_libraries,
    ("core/codec/refusals.py", "pass value.to_pydatetime()"): values.values_of_libraries,
    ("core/codec/refusals.py", "pass value.to_pytimedelta()"): values.values_of_libraries,
    (
        "core/codec/signatures.py",
        "pass its arguments as such: args=(…), kwargs={{}: …}; or rename the parameter",
    ): values.parameters_named_like_options,
    ("core/codec/writer.py", "await it and return the result, or return its id: str(handle)"): Words(
        "the codec alone refuses it: a job that returns a handle returns its id (ADR 19)"
    ),
    (
        "core/codec/writer.py",
        "pass it as bytes, or clean it: text.encode('utf-8', 'replace').decode()",
    ): values.values_with_a_form_to_pass,
    ("core/dag.py", "add_job({})"): NAME,
    ("core/plain.py", "pass plain values: str(…), float(…)"): values.metadata_and_events,
    ("core/plain.py", "store it as a string: str(number)"): values.metadata_and_events,
    ("core/plain.py", "use str(key)"): values.metadata_and_events,
    (
        "core/retention.py",
        "a graph is removed as a whole: name this job, too, or pass components=True; nothing was removed",
    ): calls.stores,
    ("exceptions.py", "await handle.retry() runs it again"): calls.waiting_for_a_job,
    ("exceptions.py", "await handle.retry()"): calls.waiting_in_a_body,
    ("exceptions.py", "await handle.retry() opens it again"): OPENED,
    ("error_texts.py", "await jp.handle({}).retry()"): calls.waiting_in_a_body,
    ("exceptions.py", 'choose another job_id, or pass if_exists="return" to get the existing job'): calls.options,
    (
        "exceptions.py",
        'nothing was lost; submit .request again with if_exists="return"',
    ): calls.a_store_that_is_away,
    ("versions.py", "pip install {}"): calls.a_part_that_is_not_installed,
    (
        "exceptions.py",
        "the job continues; wait again, or cancel it with await handle.cancel()",
    ): calls.waiting_for_a_job,
    ("exceptions.py", "use it inside 'async with JobProcessor() as jp:'"): calls.processors_elsewhere,
    ("runtime/handle.py", "JobHandle({})"): NAME,
    ("runtime/handle.py", "await handle"): calls.bodies,
    ("runtime/daemon.py", "async with JobDaemon(…) as daemon:"): calls.daemons_of_their_own,
    ("runtime/worker.py", "async with Worker(…) as worker:"): calls.workers_of_their_own,
    (
        "runtime/events/publisher.py",
        "async with EventPublisher(backend) as publisher:",
    ): calls.publishers_of_their_own,
    ("runtime/gather.py", "give them one by one: gather(*handles)"): calls.handles,
    ("runtime/handle.py", "handle.result_sync()"): calls.bodies,
    ("runtime/handle.py", "jp.handle(job_id) makes one"): calls.handles,
    ("runtime/gather.py", "jp.handle(job_id) makes a handle from an id"): calls.handles,
    ("runtime/handle.py", "result_sync() is for plain functions that run as jobs"): calls.bodies,
    (
        "runtime/handle.py",
        "in an 'async def' function: await handle; or SyncJobs, whose handles have result()",
    ): calls.bodies,
    (
        "runtime/context.py",
        "a thread of a body gets its job from asyncio.to_thread(f), or contextvars.copy_context().run(f)",
    ): Words("run as printed by tests/runtime/test_context_blocking.py"),
    ("models.py", "this is the handle of one job: await it, or ask by its id"): calls.handles,
    ("runtime/setup.py", "None, or 'sync' with enable_daemon=False"): calls.jobs_without_a_worker,
    ("runtime/queries.py", "await handle waits for it"): calls.waiting_for_a_job,
    ("runtime/engine.py", "do this before the block of 'async with JobProcessor() as jp:' is left"): Words(
        "says when, and names the block that is being left"
    ),
    (
        "runtime/engine.py",
        "from another thread: asyncio.run_coroutine_threadsafe(jp.submit_job(…), loop).result(), with the loop that entered it; or SyncJobs, which any thread may call; another loop enters a JobProcessor of its own",
    ): calls.processors_elsewhere,
    (
        "runtime/engine.py",
        "in a job: current_job().submit_job(…), and the handles that it returns",
    ): calls.processors_elsewhere,
    (
        "runtime/engine.py",
        "in a plain function that runs as a job: current_job().submit_job_sync(…), handle.result_sync()",
    ): calls.processors_elsewhere,
    ("runtime/batch.py", "async with jp.batch() as batch: batch.submit_job(…)"): calls.batches,
    (
        "runtime/answers.py",
        "to reject: reject_job(id, reason); for other answers: choices=, answer_type=",
    ): calls.questions,
    ("runtime/gate_methods.py", "await current_job().submit_gate(…)"): calls.questions,
    ("runtime/gate_methods.py", "current_job().submit_gate_sync(…)"): calls.questions,
    ("runtime/question_methods.py", "await current_job().ask(…)"): calls.questions,
    ("runtime/question_methods.py", "current_job().ask_sync(…)"): calls.questions,
    (
        "runtime/isolation/parent_jobs.py",
        "await its result, or open a JobProcessor(enable_daemon=False) on the same store",
    ): calls.events_in_a_process_of_its_own,
    (
        "runtime/isolation/child.py",
        "python -m asyncjobs.runtime.isolation.child is started by a worker, for its jobs with isolation='process'",
    ): Words("says that people do not run it"),
    ("runtime/context.py", "await current_job().submit_job(…)"): calls.bodies,
    ("runtime/context.py", "await function(…)"): calls.bodies,
    ("runtime/context.py", "current_job() works only inside a job's body"): calls.bodies,
    ("runtime/context.py", "current_job().run_sync(function, …)"): calls.bodies,
    ("runtime/context.py", "current_job().submit_job_sync(…)"): calls.bodies,
    ("runtime/context.py", "emit(type)"): calls.bodies,
    ("runtime/context.py", "emit({}, data)"): calls.bodies,
    ("runtime/context.py", "log(level)"): calls.bodies,
    ("runtime/context.py", "pass key=…"): calls.bodies,
    ("runtime/context.py", "progress(done)"): calls.bodies,
    ("runtime/context.py", "progress(total)"): calls.bodies,
    (
        "runtime/fallback.py",
        "no worker is alive: jobs are run in the process that submits them, one submit at a time. %senable_daemon=True runs them in the background",
    ): calls.jobs_without_a_worker,
    (
        "runtime/functions.py",
        "give the function itself, not its name or what it returns: functions=[render]",
    ): calls.functions,
    ("runtime/argument_checks.py", "JobQuery(status='failed'), JobQuery(group='comics'), …"): calls.options,
    (
        "runtime/argument_checks.py",
        "map_jobs(render, [path]); submit_job(render, path) calls it once",
    ): calls.options,
    (
        "runtime/argument_checks.py",
        "submit_jobs([JobRequest(func=render, args=(path,))]); submit_job(render, path) submits one",
    ): calls.options,
    (
        "runtime/inside.py",
        "jp.daemon.close() stops claiming without waiting; or let the body set an event, and stop the daemon outside",
    ): calls.bodies,
    (
        "runtime/shutdown.py",
        "unfinished jobs in an in-memory store end with this program, unless a JobProcessor is entered again on the same backend object. 'await jp.drain()' before leaving waits for them; a store in a file keeps them",
    ): calls.jobs_without_a_worker,
    (
        "runtime/shutdown.py",
        "unfinished jobs stay in the store. 'await jp.drain()' before leaving waits for them; a daemon on the same store runs them",
    ): calls.jobs_without_a_worker,
    (
        "runtime/loop_monitor.py",
        "job %r blocks the event loop, for %.0f ms so far: %s at %s. Nothing else runs meanwhile: await slow calls, or submit a plain function, which runs in a thread",
    ): Words("names the job and the place; there is no call in it"),
    (
        "runtime/event_data.py",
        "is the name of an event of streams and browsers; for example: emit('job_{}', …)",
    ): calls.bodies,
    (
        "runtime/event_data.py",
        "is the handle of a job, not the type of an event; for example: emit('job_done', {'job': handle.id})",
    ): calls.bodies,
    ("runtime/event_data.py", "emit({}, append)"): Words(
        "names the call and the argument, in a warning of the job's log"
    ),
    ("runtime/event_data.py", "emit({}, append={})"): Words("as above; the value and what is wrong with it follow"),
    ("runtime/step_methods.py", "current_job().forget_sync(…)"): steps.steps,
    ("runtime/step_methods.py", "await current_job().forget(…)"): steps.steps,
    ("runtime/step_methods.py", "current_job().keep_sync(…)"): steps.steps,
    ("runtime/step_methods.py", "await current_job().keep(…)"): steps.steps,
    ("runtime/step_methods.py", "current_job().recall_sync(…)"): steps.steps,
    ("runtime/step_methods.py", "await current_job().recall(…)"): steps.steps,
    ("runtime/step_methods.py", "current_job().step_sync(…)"): steps.steps,
    ("runtime/step_methods.py", "await current_job().step(…)"): steps.steps,
    ("runtime/steps.py", "in an 'async def' function: await current_job().step({}, …)"): steps.steps,
    (
        "runtime/misplaced_calls.py",
        "a body must wait for its tasks and threads, and each job must call current_job() itself",
    ): Words("what a body does, not a call to write as it stands"),
    ("runtime/steps.py", "step_sync() does not await 'async def' functions"): steps.steps,
    (
        "runtime/steps.py",
        "pass the function itself and its arguments after it: step({}, render, path)",
    ): Words("as that of submit_job, with the key of the step"),
    ("runtime/steps.py", "step_sync() does not await what fn returned"): steps.steps,
    ("runtime/preload.py", "the whole traceback: python -c 'import {}'"): Words("Python's own command"),
    ("core/retry.py", "RetryPolicy(max_retries=5)"): calls.options,
    (
        "core/retry.py",
        "RetryPolicy(on=[…], never_on=[…]) chooses errors, base=, factor=, cap= and jitter= the delays; for a decision that needs code, let the function raise an error of a class that never_on names",
    ): Words("names the options; which one fits is for the program to decide"),
    ("backends/select.py", "JobProcessor(daemon=DaemonConfig(…))"): Words(
        "names the parameter; the config is the caller's"
    ),
    ("backends/select.py", "{}, a path, SQLiteConfig(…), SQSConfig(…), MemoryConfig(…) or a JobBackend"): Words(
        "what may be given"
    ),
    (
        "runtime/submission.py",
        "a local job runs in this process only, and isolation='process' runs it in another",
    ): calls.callables,
    ("runtime/requests.py", "args=(value,)"): calls.options,
    ("runtime/submission.py", "datetime.now(UTC) + …, or value.astimezone()"): calls.options,
    ("runtime/submission.py", "ids, handles, jp.optional(…)"): calls.options,
    ("runtime/submission.py", "ids, handles, jp.optional(…), or a list of these"): calls.options,
    ("runtime/submission.py", "move the function to module level and remove local=True"): calls.callables,
    ("runtime/submission.py", "open the JobProcessor with enable_daemon=True"): calls.callables,
    ("runtime/submission.py", "optional({})"): NAME,
    (
        "runtime/submission.py",
        "timeout= cannot stop the plain function {!r}: after the timeout, current_job().cancelled is True; the job keeps its slot until the function returns, and then fails",
    ): calls.bodies,
    (
        "runtime/no_worker_warning.py",
        "waiting for %s, but no worker is alive; %sopen a JobProcessor with enable_daemon=True",
    ): calls.jobs_without_a_worker,
    (
        "runtime/reasons.py",
        "no worker is alive; {}open a JobProcessor with enable_daemon=True",
    ): calls.jobs_without_a_worker,
    (
        "sync.py",
        "await current_job().submit_job(…), await jp.handle(job_id), with jp = jobs.processor",
    ): calls.without_a_loop,
    ("sync.py", "await handle."): Words("what is replaced in hints of others"),
    ("sync.py", "await jp.submit_job(…), await jp.handle(job_id), with jp = jobs.processor"): calls.without_a_loop,
    ("sync.py", "give them one by one: gather(*handles)"): calls.without_a_loop,
    ("sync.py", "jobs.handle(job_id) makes one"): calls.without_a_loop,
    ("sync.py", "use it inside 'with SyncJobs(…) as jobs:'"): calls.without_a_loop,
    ("testing/clocks.py", "time does not go back; jump() moves the wall clock alone"): NAME,
    ("web_door.py", "asgi_app()"): NAME,
    ("web_door.py", "sse_response()"): NAME,
    (
        "core/mains.py",
        "put it into a module that the server imports and registers: JobProcessor(functions=[…]); or run it in a separate daemon with --app or --allow",
    ): web.submitting,
}


def messages(path: Path) -> set[str]:
    """The literals of a file that name a command, an option or a call, docstrings apart; ``{}`` is what is put in."""
    tree = ast.parse(path.read_text())
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            apart.update(id(part) for part in ast.walk(node) if part is not node)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in NO_MESSAGES:
            apart.update(id(part) for part in ast.walk(node))
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in apart:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        # A single word is the name of an option where it is looked for, and no message.
        if NAMES.search(text) and not SQL.match(text) and re.search(r"\s|…|\(", text):
            found.add(text)
    return found


def collected() -> set[tuple[str, str]]:
    paths = {path: str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")}
    # Unit files are run by tests/cli/test_unit_files.py, examples parsed by tests/cli/test_explain.py.
    others = {"cli/service_files.py", "cli/examples.py"}
    return {(name, text) for path, name in paths.items() if name not in others for text in messages(path)}


def test_every_message_that_names_a_command_or_a_call_is_listed() -> None:
    assert collected() == set(LISTED)


SCENARIOS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": function
    for module in (calls, commands, runs, steps, tracker, values, web)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__
    if list(inspect.signature(function).parameters) == ["hints"]
}


@pytest.fixture
def hints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hints:
    for name in ("hinted", "elsewhere"):  # modules of a folder that is another one in each scenario
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)  # where stores are made that nobody names
    return Hints(tmp_path, monkeypatch)


async def run(scenario: Callable[[Hints], Any], hints: Hints) -> None:
    done = scenario(hints)
    if inspect.isawaitable(done):
        await done
    said = [text for (_, text), by in LISTED.items() if by is scenario]
    assert [text for text in said if not hints.has_followed(text)] == []
    assert said, "no message is listed for it"


@pytest.mark.parametrize("name", [name for name, made in SCENARIOS.items() if inspect.iscoroutinefunction(made)])
@pytest.mark.anyio
async def test_what_a_message_says_works_as_it_is_printed(name: str, hints: Hints) -> None:
    await run(SCENARIOS[name], hints)


@pytest.mark.parametrize("name", [name for name, made in SCENARIOS.items() if not inspect.iscoroutinefunction(made)])
def test_what_a_command_prints_works_as_it_is_printed(name: str, hints: Hints) -> None:
    coroutine = run(SCENARIOS[name], hints)  # without a loop: the command line brings its own
    with pytest.raises(StopIteration):
        coroutine.send(None)


def test_every_listed_message_has_a_scenario_or_a_reason() -> None:
    assert {by for by in LISTED.values() if not isinstance(by, Words)} == set(SCENARIOS.values())


def test_a_message_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        '"""asyncjobs daemon start"""\nx = "a", f"run asyncjobs jobs list {x}"\nraise E(hint="use await handle.cancel()")\n'
        'y = "--force", option("--wait for it", help="f(x)"), "--force overwrites it"\nz = "give a list: f([1])", "SELECT f(x)"\n'
    )
    assert messages(tmp_path / "a.py") == {
        "run asyncjobs jobs list {}",
        "use await handle.cancel()",
        "--force overwrites it",
        "give a list: f([1])",
    }


def test_a_message_counts_as_followed_only_if_it_was_printed(hints: Hints) -> None:
    hints.follow("✖ no\n  → asyncjobs --db 'my jobs.db' jobs retry 'bad one'")
    assert hints.has_followed("asyncjobs jobs retry {}")
    assert not hints.has_followed("asyncjobs jobs show {}")
    assert not hints.has_followed("fix the cause, then retry it: asyncjobs jobs retry {}")
