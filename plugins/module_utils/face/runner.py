# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module: options in, one use case, result out. The only reader of check mode and diff."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Callable, NoReturn
from urllib.parse import unquote, unquote_plus

from ansible.module_utils.basic import AnsibleModule

from ..core.model.errors import AblestackError, Code, invalid
from ..core.model.outcome import Incomplete, Outcome
from ..core.usecase.infrastructure import Infrastructure
from .connection import CONNECTION_OPTIONS, EXCLUSIVE, catalog_of, open_hosts

Work = Callable[[Infrastructure], Outcome]
Prepare = Callable[[Mapping[str, Any]], Work]

# Ansible takes these keys of a result for its own: with `unreachable` it would give up the managed host.
_RENAMED = {"failed": "failures", "unreachable": "unreachable_hosts"}
_SECRET = {"user_data"}
_ADDRESSES = {"url"}
_LEAST_OF_URL = 5  # letters
_LOGIN = re.compile(r"^[^/?#]*//([^/?#]*)@")
_QUERY = re.compile(r"\?([^#]*)")
_RESERVED = {"changed", "diff", "invocation", "msg", "skipped", "warnings"}


class Module(AnsibleModule):  # type: ignore[misc]
    """Ansible's own complaints about options get the `error` that all failures have (INTERFACE 10)."""

    def fail_json(self, msg: str, **result: Any) -> NoReturn:
        self.keep_secrets()
        if "error" not in result:
            error = (self._no_mapping() if "dictionary requested" in msg else None) or invalid(msg, self._manual())
            msg, result = error.sentence, {**result, "error": error.as_dict()}
        super().fail_json(msg=msg, **result)
        raise SystemExit(1)

    def _manual(self) -> str:
        name = self._name if "." in self._name else f"ablestack.kvm.{self._name}"
        return f"ansible-doc {name} shows what its options take"

    def _no_mapping(self) -> AblestackError | None:
        """Names the list of mappings that has something else in it, which Ansible does not."""
        given = (name for name, option in self.argument_spec.items() if option.get("options") and name in self.params)
        names = [name for name in given if self.params[name] is not None]
        if not names:
            return None
        first = next(iter(self.argument_spec[names[0]]["options"]))
        return invalid(
            f"an entry of {' or '.join(names)} is no mapping", f"write for example {names[0]}: [{{{first}: ...}}]"
        )

    def keep_secrets(self) -> None:
        """Masks in results what Ansible does not know for secret: it sees options, not what is in them."""
        # a private key put where a public one belongs is a secret all the same
        keys = (text for text in _texts(self.params) if "PRIVATE KEY" in text)
        urls = (part for url in _secrets(self.params, _ADDRESSES) for part in _secrets_of_url(url))
        secrets = {*self.no_log_values, *_secrets(self.params, _SECRET), *urls, *keys}
        # a blank text is no secret, and to mask the empty one would put stars between all letters of a result
        self.no_log_values = {text for text in secrets if text.strip()}

    def _log_invocation(self) -> None:
        """The system's log gets the options without the secrets in them."""
        given = self.params
        self.params = _without_secrets(given)
        try:
            super()._log_invocation()
        finally:
            self.params = given


def run(options: Mapping[str, Any], prepare: Prepare, *, reads_only: bool = False, **ansible: Any) -> None:
    """Runs one module to its end. `options` is the specification of its own options, the connection's are added.

    `prepare` turns the values of its own options into the work to do; what it refuses is told before any host is asked.
    `reads_only`: it never writes, so check mode gets a full connection too: on a read-only one libvirt asks no guest
    agent for addresses. Whatever else is given goes to AnsibleModule.
    """
    module = Module(
        argument_spec={**CONNECTION_OPTIONS, **options},
        mutually_exclusive=[*EXCLUSIVE, *ansible.pop("mutually_exclusive", ())],
        supports_check_mode=True,
        **ansible,
    )
    module.keep_secrets()
    # The process ends with this task, and what it lets go before has no cycles: to look for them costs a large fleet a
    # sixth of its time.
    gc.disable()
    check = module.check_mode and not reads_only

    def work() -> Outcome:
        task = prepare({key: module.params[key] for key in options})
        with Infrastructure(catalog_of(module.params, os.environ), open_hosts(check), check) as infrastructure:
            return task(infrastructure)

    outcome, error = _attempt(work, module.no_log_values)
    # No exception is pending from here on, so Ansible has no traceback to add.
    for warning in outcome.warnings:
        module.warn(warning)
    result = {**outcome.result, "changed": outcome.changed}
    if module._diff and not reads_only:
        result["diff"] = {"before": outcome.before, "after": outcome.after}
        if outcome.plan:
            result["diff"]["prepared"] = "".join(f"{line}\n" for line in outcome.plan)
    if error is None:
        module.exit_json(**result)
    if not isinstance(error, Incomplete):
        result = {}
    module.fail_json(**{**result, "msg": error.sentence, "error": error.as_dict()})


def _attempt(work: Callable[[], Outcome], secrets: Iterable[str]) -> tuple[Outcome, AblestackError | None]:
    """What came of it, in plain JSON types, and what went wrong."""
    error: AblestackError | None = None
    outcome = Outcome()
    try:
        try:
            outcome = work()
        except Incomplete as failure:
            outcome, error = failure.outcome, failure
        except AblestackError as failure:
            error = failure
        outcome = _checked(outcome)
        if error:
            error.details = plain(error.details)
    except Exception as failure:  # noqa: BLE001 - the last resort: a user gets a sentence, whatever happens
        outcome, error = Outcome(), _unexpected(failure, secrets)
    return outcome, error


def _checked(outcome: Outcome) -> Outcome:
    """The same in plain JSON types, under keys that mean nothing to Ansible."""
    before, after, result = (plain(part) for part in (outcome.before, outcome.after, outcome.result))
    result = {_RENAMED.get(key, key): value for key, value in result.items()}
    taken = _RESERVED & set(result)
    if taken:
        raise TypeError(f"a result has keys of Ansible's own: {', '.join(sorted(taken))}")
    return Outcome(outcome.changed, before, after, result, outcome.warnings, outcome.plan)


def _unexpected(failure: Exception, secrets: Iterable[str]) -> AblestackError:
    """A library that is not installed, else a mistake of ours: its kind and place, and its text."""
    library = (failure.name or "").partition(".")[0] if isinstance(failure, ModuleNotFoundError) else ""
    if library and not library.startswith("ansible"):
        return AblestackError(
            Code.UNSUPPORTED,
            f"the Python library {library} is not installed for {sys.executable}",
            "install it there, or choose another Python by ansible_python_interpreter",
        )
    kind, text = type(failure).__name__, _squeezed(str(failure))
    lines = (_squeezed(line) for secret in secrets for line in secret.splitlines())
    if not text or any(line in text for line in lines if len(line) > 3):
        text = "its text is withheld" if text else "it says nothing more"
    return AblestackError(
        Code.INTERNAL,
        f"unexpected {kind}: {text[:200]}",
        "this is a mistake in the collection; please report it with error.details",
        kind=kind,
        calls=_calls(failure),
    )


def _squeezed(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def _calls(failure: BaseException) -> list[str]:
    """Where it happened, innermost last: file, line and function, without the code that a traceback quotes."""
    calls = []
    trace = failure.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = code.co_filename.replace("\\", "/").rpartition("/")[2]
        calls.append(f"{place}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return calls[-8:]


def _secrets(value: Any, names: Collection[str]) -> Iterator[str]:
    """Every text under one of the names in some data."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item) if key in names else _secrets(item, names)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secrets(item, names)


def _secrets_of_url(url: str) -> Iterator[str]:
    """What may be secret in it: who logs in, and a query, which may be a signature; their parts where they are long
    enough not to be in everything else, too.
    """
    login, query = (found.group(1) if found else "" for found in (_LOGIN.search(url), _QUERY.search(url)))
    words = [login.partition(":")[2] or login]
    for pair in query.split("&"):
        name, equals, word = pair.partition("=")
        words.append(word if equals else name)
    yield from (f"{login}@",) if login else ()
    yield from (f"?{query}",) if query else ()
    for word in words:
        yield from (one for one in (word, unquote(word), unquote_plus(word)) if len(one) > _LEAST_OF_URL)


def _without_secrets(value: Any) -> Any:
    """The same data with nothing under a secret's name."""
    if isinstance(value, Mapping):
        hidden = _SECRET | _ADDRESSES
        return {key: "NOT_LOGGING_PARAMETER" if key in hidden else _without_secrets(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    """Every text in some data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def plain(value: Any) -> Any:
    """The same data of dicts with text keys, lists, texts, numbers, truth values and None; else TypeError.

    Strict on purpose: JSON encoders print what they do not know as its repr, and playbooks then compare with that.
    """
    if isinstance(value, Enum):
        if not isinstance(value, str):
            raise TypeError(f"{type(value).__name__} has no place in a result")
        return str(value.value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    raise TypeError(f"{type(value).__name__} has no place in a result")


def _key(key: Any) -> str:
    if isinstance(key, Enum) or not isinstance(key, str):
        raise TypeError(f"a key of a result is {type(key).__name__}, not a text")
    return key
