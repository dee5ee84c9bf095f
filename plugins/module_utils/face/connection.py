# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options of modules and inventory, the catalog they come to, and how its hosts are opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..core.model.catalog import Catalog
from ..core.model.catalog_reader import read_catalog
from ..core.model.errors import AblestackError, Code, invalid
from ..core.usecase.infrastructure import Opener

DEFAULT_URI = "qemu:///system"
ENVIRONMENT = "ABLESTACK_CATALOG"
CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "uri": {"type": "str"},
    "catalog": {"type": "dict"},
    "catalog_file": {"type": "path"},
}
EXCLUSIVE = [("uri", "catalog", "catalog_file")]


def catalog_of(params: Mapping[str, Any], environment: Mapping[str, str]) -> Catalog:
    """The catalog that the options name; the environment counts only where none of them is given.

    Raises InvalidInput for a wrong catalog, NotFound for a file that cannot be read.
    """
    if params.get("uri"):
        return Catalog.of_uri(checked_uri(params["uri"]))
    if params.get("catalog") is not None:
        return read_catalog(params["catalog"])
    path = params.get("catalog_file") or environment.get(ENVIRONMENT)
    if path:
        return read_catalog(load_file(os.path.expanduser(os.path.expandvars(path))))
    return Catalog.of_uri(DEFAULT_URI)


def open_hosts(read_only: bool) -> Opener:
    """How hosts are connected; on a read-only connection libvirt itself refuses every write."""
    from ..core.hypervisor.connection import open_host

    return lambda spec: open_host(spec, read_only=read_only)


def checked_uri(uri: str) -> str:
    """A libvirt URI, else InvalidInput."""
    if "://" not in uri or any(character.isspace() for character in uri):
        raise invalid(f"'{uri}' is not a libvirt URI", "write for example qemu+ssh://root@kvm01/system")
    return uri


def load_file(path: str) -> Any:
    """The plain data in a YAML or JSON file."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise AblestackError(
            Code.NOT_FOUND,
            f"catalog file '{path}' cannot be read ({error.strerror})",
            "the path is one on the machine where the module runs; on another, give catalog instead",
        ) from error
    except UnicodeDecodeError as error:
        raise invalid(f"catalog file '{path}' is not UTF-8 text", "save it as UTF-8") from error
    return _parse_yaml(text, path)


def _parse_yaml(text: str, path: str) -> Any:
    try:
        import yaml
    except ImportError:
        return _parse_json(text, path)
    try:
        # The C loader reads a catalog of a thousand hosts ten times as fast, but is not in every build.
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise invalid(f"catalog file '{path}' is not YAML{where}: {problem}", "correct it there") from error


def _parse_json(text: str, path: str) -> Any:
    """YAML without its parser: a bare host may lack PyYAML, and JSON is YAML too."""
    import json

    try:
        return json.loads(text)
    except ValueError as error:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"catalog file '{path}' is not JSON, and this machine's Python has no YAML parser",
            "install PyYAML there (Debian: python3-yaml), or give catalog instead of catalog_file",
        ) from error
