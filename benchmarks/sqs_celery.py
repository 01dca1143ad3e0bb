"""Run jobs of Celery over SQS: a program for an environment that has it, and not this package. See ``sqs_ours.py``.

Messages are acknowledged when their job has ended, and results are stored in DynamoDB, since that is nearest to what
this package keeps. It knows its queue, and sends no events. Of its pools it has the usual one: a process for each of
two processors.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any

WAIT = 2


def main(role: str, endpoint: str, name: str, file: str, count: str) -> None:
    """Submit, or work until SIGTERM: a thread that waits for lines would be in the way of its forks."""
    celery: Any = importlib.import_module("celery")
    host = endpoint.removeprefix("http://")
    app: Any = celery.Celery("bench", broker=f"sqs://test:test@{host}//", backend=f"dynamodb://test:test@{host}/{name}")
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "region": "us-east-1",
            "is_secure": False,
            "wait_time_seconds": WAIT,
            "polling_interval": 0,
            "visibility_timeout": 60,
            "predefined_queues": {name: {"url": f"{endpoint}/000000000000/{name}"}},
        },
        task_acks_late=True,
        task_default_queue=name,
        worker_enable_remote_control=False,
    )

    @app.task(name="ran")
    def ran(file: str) -> None:
        log = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.write(log, b"%d\n" % time.monotonic_ns())
        os.close(log)

    if role == "submit":
        with app.connection_for_write() as connection:
            connection.ensure_connection()
        _say("ready")
        os.read(0, 100)
        for _ in range(int(count)):
            ran.delay(file)
        _say("sent")
        os.read(0, 100)
        return
    signals: Any = importlib.import_module("celery.signals")

    @signals.worker_process_init.connect(weak=False)
    def own_connection(**_: object) -> None:
        """Do without the connection of the parent, on which the answers to two children get mixed up."""
        app.backend._client = None

    importlib.import_module("celery.bin.worker")
    importlib.import_module("kombu.transport.SQS")
    _say("ready")
    os.read(0, 100)
    quietly = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    app.worker_main(["worker", "--pool", "prefork", "--concurrency", "2", *quietly])


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
