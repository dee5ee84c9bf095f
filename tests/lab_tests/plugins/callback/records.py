"""Writes every task's result as a line of JSON, for tests to read; the ordinary output stays as it is."""

from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: records
type: notification
short_description: Task results as lines of JSON
description: Appends one JSON object a task and host to the file that E(LAB_RECORDS) names.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "records"
    CALLBACK_NEEDS_ENABLED = True

    def _record(self, status, result):
        line = {
            "status": status,
            "host": result.host.get_name(),
            "task": result.task.get_name().strip(),
            "action": result.task.action,
            "result": result.result,
        }
        with open(os.environ["LAB_RECORDS"], "a", encoding="utf-8") as file:
            # Values that carry Ansible's marks (unsafe, deprecated) are plain data to a test.
            file.write(json.dumps(line, default=str) + "\n")

    def v2_runner_on_ok(self, result):
        self._record("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._record("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result):
        self._record("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self._record("skipped", result)
