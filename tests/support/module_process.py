# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module run inside the test's own process as on a managed host, whichever ansible-core there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from ansible.module_utils import basic
from ansible.module_utils.common import warnings

try:
    from ansible.module_utils import _internal
except ImportError:  # before 2.19 modules knew no controller
    _internal = None


@contextmanager
def module_arguments(args: dict[str, Any]) -> Iterator[None]:
    """AnsibleModule finds these arguments."""
    try:
        from ansible.module_utils.testing import patch_module_args
    except ImportError:  # before 2.18
        text = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
        with patch.object(basic, "_ANSIBLE_ARGS", text):
            yield
    else:
        with patch_module_args(args):
            yield


@contextmanager
def as_on_a_host() -> Iterator[None]:
    """Warnings are the module's own: other tests of this process import the controller's side of Ansible."""
    kept = warnings._global_warnings
    empty = type(kept)()
    with patch.object(warnings, "_global_warnings", empty):
        if _internal is None:
            yield
        else:
            with patch.object(_internal, "is_controller", False):
                yield
