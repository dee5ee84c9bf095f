"""Checks the YAML in the documentation, by the modules' own checks and by what the inventory plugin documents."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Callable
from unittest.mock import patch

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError
from ansible_collections.ablestack.kvm.plugins.module_utils.face.connection import CONNECTION_OPTIONS, EXCLUSIVE

PLUGINS = "ansible_collections.ablestack.kvm.plugins"
FOLDER = Path(__file__).parents[2] / "plugins"
MODULES = sorted(path.stem for path in (FOLDER / "modules").glob("ablestack_*.py"))
GROUP = "group/ablestack.kvm.ablestack"
_NESTED = ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks", "handlers")
# Stands for what only a run can tell: a name, two words of a public key, and a URI, as far as the checks can see.
_ANYTHING = {"name": "anything", "text": "ssh-ed25519 qemu:///anything"}


def tasks_in(data: Any) -> Iterator[dict[str, Any]]:
    """Every task in plays, lists of tasks, and blocks."""
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict):
            nested = [entry[key] for key in _NESTED if key in entry]
            if not nested:
                yield entry
            for part in nested:
                yield from tasks_in(part)


def plays_in(data: Any) -> list[dict[str, Any]]:
    """The plays, where the data is a playbook."""
    plays = data if isinstance(data, list) else []
    return [play for play in plays if isinstance(play, dict) and ("hosts" in play or "import_playbook" in play)]


def calls_in(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every use of a module of ours: its name, and its options with the play's defaults for them."""
    for part in plays_in(data) or [{"tasks": data}]:
        defaults = (part.get("module_defaults") or {}).get(GROUP, {})
        for task in tasks_in([part]):
            for key, value in task.items():
                if key.startswith("ablestack.kvm."):
                    yield key[len("ablestack.kvm.") :], {**defaults, **(value or {})}


@cache
def checks_of(name: str) -> tuple[ArgumentSpecValidator, Callable[[Mapping[str, Any]], Any], frozenset[str]]:
    """What a module checks options with: Ansible's part, its own, and the names of its own options."""
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    with patch.object(module, "run") as run:
        module.main()
    options, prepare = run.call_args.args
    more = {key: value for key, value in run.call_args.kwargs.items() if key != "reads_only"}
    more["mutually_exclusive"] = [*EXCLUSIVE, *more.get("mutually_exclusive", ())]
    return ArgumentSpecValidator({**CONNECTION_OPTIONS, **options}, **more), prepare, frozenset(options)


def call_errors(name: str, given: Mapping[str, Any]) -> list[str]:
    """What the module would refuse before it asks any host."""
    if name not in MODULES:
        return [f"there is no module {name}"]
    validator, prepare, own = checks_of(name)
    checked = validator.validate(_settled(given, validator.argument_spec))
    if checked.error_messages:
        return list(checked.error_messages)
    try:
        prepare({key: value for key, value in checked.validated_parameters.items() if key in own})
    except AblestackError as error:
        return [error.sentence]
    return []


def _settled(given: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """The options with a plain word for each template; where a word would not do, the option is left out."""
    settled = {}
    for name, value in given.items():
        option = spec.get(name, {})
        if not _is_template(value):
            settled[name] = without_templates(value, "text" if name == "ssh_public_keys" else "name")
        elif option.get("type", "str") in ("str", "path") and not option.get("choices"):
            settled[name] = _ANYTHING["name"]
    return settled


def inventory_errors(data: Mapping[str, Any]) -> list[str]:
    """What of an inventory source the plugin does not document."""
    name = str(data.get("plugin")).rpartition("ablestack.kvm.")[2]
    if not (FOLDER / "inventory" / f"{name}.py").is_file():
        return [f"there is no inventory plugin {name}"]
    own = yaml.safe_load(importlib.import_module(f"{PLUGINS}.inventory.{name}").DOCUMENTATION)
    known: dict[str, Any] = {}
    for part in own.get("extends_documentation_fragment", ()):
        known.update(_fragment(part).get("options") or {})
    known.update(own["options"])
    errors = [f"unknown option {key}" for key in data if key not in known]
    for key, value in data.items():
        choices = known.get(key, {}).get("choices")
        wrong = [item for item in (value if isinstance(value, list) else [value]) if choices and item not in choices]
        errors += [f"{key}: {item} is none of {', '.join(choices)}" for item in wrong]
    return errors


def _fragment(name: str) -> dict[str, Any]:
    """A documentation fragment of ours, or of Ansible's own."""
    file = name.rpartition(".")[2]
    folder = f"{PLUGINS}.doc_fragments" if name.startswith("ablestack.kvm.") else "ansible.plugins.doc_fragments"
    holder = importlib.import_module(f"{folder}.{file}").ModuleDocFragment
    found: dict[str, Any] = yaml.safe_load(holder.DOCUMENTATION)
    return found


def catalogs_in(data: Any) -> Iterator[Mapping[str, Any]]:
    """Every catalog: a file of its own, a variable, or an option."""
    if isinstance(data, Mapping):
        hosts = data.get("hosts")
        if isinstance(hosts, list) and hosts and isinstance(hosts[0], Mapping) and "uri" in hosts[0]:
            yield data
        for item in data.values():
            yield from catalogs_in(item)
    elif isinstance(data, list):
        for item in data:
            yield from catalogs_in(item)


def without_templates(value: Any, kind: str = "text") -> Any:
    """The same data with plain words for templates."""
    if isinstance(value, Mapping):
        return {key: without_templates(item, kind) for key, item in value.items()}
    if isinstance(value, list):
        return [without_templates(item, kind) for item in value]
    return _ANYTHING[kind] if _is_template(value) else value


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and ("{{" in value or "{%" in value)
