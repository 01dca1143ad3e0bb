"""The command line on a store in SQS and DynamoDB."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from asyncjobs.config import SQSConfig
from tests import sqs_server
from tests.cli.support import Shell


class OnAWS(Shell):
    """A folder whose settings name a table of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.table = f"test-{uuid4().hex[:12]}"
        settings = {"queue_url": self.table, "table": self.table, "region": "us-east-1"}
        if (endpoint := sqs_server.endpoint()) is not None:
            settings["endpoint_url"] = endpoint
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        sqs = "\n".join(["[sqs]", "create = true", "wait_time = 1", *lines])
        (folder / "asyncjobs.toml").write_text(f'backend = "sqs"\n\n{sqs}\n\n[daemon]\nallowed_modules = ["app"]\n')
        self.config = SQSConfig(**settings)
        self.environment |= sqs_server.environment()
