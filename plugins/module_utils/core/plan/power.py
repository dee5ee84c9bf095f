# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power: which steps bring a VM that exists to started, stopped or restarted (SEMANTICS 3)."""

from __future__ import annotations

from dataclasses import replace

from ..model.plan_parts import LIVE, Change, Plan, Step
from ..model.vm import Power, VmFacts
from .request import VmRequest
from .steps import PowerOff, Reboot, Reset, Resume, Shutdown, Start


def off(vm: VmFacts) -> VmFacts:
    """The same VM with its power off."""
    return replace(vm, power=Power.OFF, live=None, addresses={})


def on(vm: VmFacts) -> VmFacts:
    """The same VM running what its definition says: pending changes apply at start."""
    return replace(vm, power=Power.RUNNING, live=vm.config)


def stop_steps(request: VmRequest, vm: VmFacts) -> tuple[Step, ...]:
    """What stops an active VM: graceful with a time limit, or at once when forced."""
    if not vm.is_active:
        return ()
    spec = request.spec
    if spec.forced:
        return (PowerOff(vm.id),)
    return (Shutdown(vm.id, stop_timeout(request), spec.force_after_timeout),)


def stop_timeout(request: VmRequest) -> int:
    """Seconds a guest gets to go down or to reboot."""
    given = request.spec.timeout
    return given if isinstance(given, int) else request.catalog.settings.stop_timeout


def plan_power(request: VmRequest, vm: VmFacts) -> Plan[VmFacts]:
    """Only the power of it; `present` leaves that alone."""
    state = request.spec.state
    if state == "stopped" and vm.is_active:
        return _power(vm, stop_steps(request, vm), off(vm))
    if state == "started" and vm.power is Power.PAUSED:
        return _power(vm, (Resume(vm.id),), replace(vm, power=Power.RUNNING))
    if state in ("started", "restarted") and not vm.is_active:
        return _power(vm, (Start(vm.id),), on(vm))
    if state == "restarted":
        spec = request.spec
        step: Step = Reset(vm.id) if spec.forced else Reboot(vm.id, stop_timeout(request), spec.force_after_timeout)
        change = Change("power", vm.state, "restarted", LIVE)
        return Plan((change,), (step,), predicted=replace(vm, power=Power.RUNNING))
    return Plan(predicted=vm)


def _power(vm: VmFacts, steps: tuple[Step, ...], after: VmFacts) -> Plan[VmFacts]:
    return Plan((Change("state", vm.state, after.state, LIVE),), steps, predicted=after)
