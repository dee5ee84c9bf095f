# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a catalog, connected when first needed and all at once; one that is down fails only what needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from types import TracebackType
from typing import Callable, TypeVar

from ..hypervisor.port import Host
from ..model.catalog import Catalog, HostSpec
from ..model.errors import AblestackError, Code, answer_of
from ..model.values import Maybe

T = TypeVar("T")
Opener = Callable[[HostSpec], Host]
Errors = Mapping[str, AblestackError]  # by host name


class Infrastructure:
    """Connections by host name. `open_host` connects one host, or raises HostUnavailable within its time limit."""

    def __init__(self, catalog: Catalog, open_host: Opener, check: bool = False) -> None:
        self.catalog = catalog
        self.check = check
        self._open = self._open_more = open_host
        self._hosts: dict[str, Host | AblestackError] = {}
        self._more: list[Host] = []
        self._locks = {spec.name: Lock() for spec in catalog.hosts}
        self._promised: dict[str, set[str]] = {}
        self._promising = Lock()

    def __enter__(self) -> Infrastructure:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for host in (*self._hosts.values(), *self._more):
            if not isinstance(host, AblestackError):
                with suppress(AblestackError):
                    host.close()

    def narrowed(self, spec: HostSpec) -> Infrastructure:
        """The same connections seen through a catalog of one host, for work that concerns no other."""
        return self._view(Infrastructure(replace(self.catalog, hosts=(spec,)), self._open, self.check))

    def checking(self) -> Infrastructure:
        """The same connections, for work that only says what it would do."""
        return self._view(Infrastructure(self.catalog, self._open, check=True))

    def through(self, glass: Opener) -> Infrastructure:
        """The same hosts, each as `glass` shows it; the connections stay ours to close."""
        return self._view(Infrastructure(self.catalog, glass, self.check), through=True)

    def _view(self, seen: Infrastructure, through: bool = False) -> Infrastructure:
        """It opens more connections as we do, and all of them are closed with ours."""
        if not through:
            seen._hosts, seen._locks = self._hosts, self._locks
        seen._open_more, seen._more = self._open_more, self._more
        seen._promised, seen._promising = self._promised, self._promising
        return seen

    def host(self, name: str) -> Host:
        """The connected host of that name; a host found unreachable stays so for the rest of the task."""
        spec = self.catalog.host(name)
        with self._locks[name]:
            if name not in self._hosts:
                self._hosts[name] = answer_of(self._open, spec)
        found = self._hosts[name]
        if isinstance(found, AblestackError):
            raise found
        return found

    def promise(self, host: str, choose: Callable[[frozenset[str]], T], addresses: Callable[[T], Iterable[str]]) -> T:
        """Chooses addresses on a host for a VM, apart from those that this process has chosen for others there."""
        with self._promising:
            promised = self._promised.setdefault(host, set())
            chosen = choose(frozenset(promised))
            promised.update(addresses(chosen))
            return chosen

    def another(self, name: str) -> Host:
        """One more connection to that host, for calls that may hang and must not hold up the others."""
        host = self._open_more(self.catalog.host(name))
        self._more.append(host)
        return host

    def on_hosts(
        self, work: Callable[[Host], T], specs: Iterable[HostSpec] | None = None
    ) -> tuple[dict[str, T], dict[str, AblestackError]]:
        """Runs `work` on many hosts at once: results by host name, and the errors of those that failed."""

        def one(spec: HostSpec) -> T | AblestackError:
            return answer_of(lambda: work(self.host(spec.name)))

        chosen = tuple(self.catalog.hosts if specs is None else specs)
        if len(chosen) == 1:
            answers = [one(chosen[0])]
        else:
            with ThreadPoolExecutor(max_workers=min(len(chosen), 64) or 1) as pool:
                answers = list(pool.map(one, chosen))
        results: dict[str, T] = {}
        errors: dict[str, AblestackError] = {}
        for spec, answer in zip(chosen, answers):
            if isinstance(answer, AblestackError):
                errors[spec.name] = answer
            else:
                results[spec.name] = answer
        return results, errors

    def selected(
        self,
        zone: Maybe[str] | str = "",
        pod: Maybe[str] | str = "",
        cluster: Maybe[str] | str = "",
        hosts: Iterable[str] = (),
    ) -> tuple[HostSpec, ...]:
        """The hosts of the catalog that match every given part; a part nobody matches is NotFound."""
        chosen = tuple(self.catalog.host(name) for name in hosts) or self.catalog.hosts
        for what, wanted in (("zone", zone), ("pod", pod), ("cluster", cluster)):
            if wanted:
                known = sorted({str(getattr(spec, what)) for spec in chosen})
                chosen = tuple(spec for spec in chosen if getattr(spec, what) == wanted)
                if not chosen:
                    raise AblestackError(
                        Code.NOT_FOUND,
                        f"no host of the catalog is in {what} '{wanted}'",
                        f"there is: {', '.join(known)}",
                    )
        return chosen


def those_down(found: Mapping[str, T], errors: Errors) -> Errors:
    """The hosts that cannot be reached, of what `on_hosts` returned; raises any other error, and those where nothing
    is found.
    """
    down = {name: error for name, error in errors.items() if error.code is Code.HOST_UNAVAILABLE}
    raise_first({name: error for name, error in errors.items() if name not in down})
    if not found:
        raise_first(down)
    return down


def raise_first(errors: Errors, **more: object) -> None:
    """One of the errors, where there are any, which tells of the others, and `more`, in its details."""
    for name, error in errors.items():
        if len(errors) > 1:
            more["others"] = {other: failure.message for other, failure in errors.items() if other != name}
        raise AblestackError(error.code, error.message, error.hint, **{**error.details, **more})


def tolerated(catalog: Catalog, down: Errors, subject: str, changed: bool, result: str) -> list[str]:
    """Warnings ("host ... `result`") about hosts that are down on purpose; HostUnavailable for any other, now that
    all the rest of the subject is as wanted.
    """
    for name, error in down.items():
        if catalog.host(name).state == "enabled":
            raise AblestackError(
                Code.HOST_UNAVAILABLE,
                f"{subject} is as wanted on all hosts but '{name}': {error.message}",
                "bring it back and run the task again, or set its state to disabled or maintenance",
                host=name,
                changed=changed,
            )
    return [f"host '{name}' {result}: {error.message}" for name, error in down.items()]
