# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power: which steps bring a VM that exists to started, stopped or restarted (SEMANTICS 3)."""

from __future__ import annotations

from dataclasses import replace

from ..model.errors import AblestackError, Code
from ..model.plan_parts import LIVE, Change, Plan, Step
from ..model.vm import Power, VmFacts
from .request import VmRequest
from .steps import DropSaved, PowerOff, Reboot, Reset, Resume, SetRecord, Shutdown, Start


def off(vm: VmFacts) -> VmFacts:
    """The same VM with its power off."""
    return replace(vm, power=Power.OFF, live=None, addresses={}, saved=False)


def on(vm: VmFacts) -> VmFacts:
    """The same VM running what its definition says: pending changes apply at start."""
    return replace(vm, power=Power.RUNNING, live=vm.config, saved=False)


def memory_saved(vm: VmFacts, what: str) -> AblestackError:
    """Said where a VM is to be changed that goes on from its saved memory: it would not know what it finds."""
    return AblestackError(
        Code.INVALID_STATE,
        f"the memory of VM '{vm.name}' is saved on its host, so {what}",
        "start it first, or give its memory up with state: stopped and forced: true",
    )


def stop_steps(request: VmRequest, vm: VmFacts) -> tuple[Step, ...]:
    """What stops a VM: graceful with a time limit, or at once when forced. Of one that is off no memory is left."""
    if vm.power is Power.OFF:
        return (DropSaved(vm.id),) if vm.saved else ()
    spec = request.spec
    if spec.forced or vm.power is Power.CRASHED:  # nobody is there to be asked
        return (PowerOff(vm.id),)
    # a paused guest hears nothing
    resumed = (Resume(vm.id),) if vm.power is Power.PAUSED else ()
    return (*resumed, Shutdown(vm.id, stop_timeout(request), spec.force_after_timeout))


def stop_timeout(request: VmRequest) -> int:
    """Seconds a guest gets to go down or to reboot."""
    given = request.spec.timeout
    return given if isinstance(given, int) else request.catalog.settings.stop_timeout


def plan_power(request: VmRequest, vm: VmFacts) -> Plan[VmFacts]:
    """Only the power of it; `present` leaves that alone."""
    spec, state = request.spec, request.spec.state
    if state == "stopped" and vm.power is not Power.OFF:
        return _power(vm, stop_steps(request, vm), off(vm))
    if state == "stopped" and vm.saved and spec.forced:
        return Plan((Change("saved_memory", "kept", None, LIVE),), stop_steps(request, vm), predicted=off(vm))
    if state == "started" and vm.power is Power.PAUSED:
        return _power(vm, (Resume(vm.id),), replace(vm, power=Power.RUNNING))
    if state in ("started", "restarted") and vm.power in (Power.SHUTDOWN, Power.CRASHED):
        return _power(vm, (*stop_steps(request, vm), Start(vm.id)), on(vm))
    if state in ("started", "restarted") and not vm.is_active:
        anew = stop_steps(request, vm) if state == "restarted" and spec.forced else ()
        return _power(vm, (*anew, Start(vm.id), *_record_again(vm)), on(vm))
    if state == "restarted":
        change = Change("power", vm.state, "restarted", LIVE)
        return Plan((change,), _restart_steps(request, vm), predicted=replace(vm, power=Power.RUNNING))
    return Plan(predicted=vm)


def _restart_steps(request: VmRequest, vm: VmFacts) -> tuple[Step, ...]:
    """A paused guest goes on before it is asked; one that is reset goes on from there."""
    spec = request.spec
    resumed = (Resume(vm.id),) if vm.power is Power.PAUSED else ()
    if spec.forced:
        return (Reset(vm.id), *resumed)
    return (*resumed, Reboot(vm.id, stop_timeout(request), spec.force_after_timeout))


def _record_again(vm: VmFacts) -> tuple[Step, ...]:
    """A guest that goes on from its saved memory brings back the record of then, beside the stored one."""
    return (SetRecord(vm.id, vm.record),) if vm.saved and vm.record else ()


def _power(vm: VmFacts, steps: tuple[Step, ...], after: VmFacts) -> Plan[VmFacts]:
    return Plan((Change("state", vm.state, after.state, LIVE),), steps, predicted=after)
