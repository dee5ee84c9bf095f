# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A QEMU process that dies of a change to its guest: the error says so, and the same task again ends as it was to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import libvirt
import pytest
from functional.test_vm_change import VM, A, B, C, apply, domain, site

from ansible_collections.ablestack.kvm.plugins.module_utils.core.hypervisor import libvirt_devices
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import Power
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.samples import ID, vm_config
from support.test_driver import driver_host
from support.worlds import World

GROWN: dict[str, Any] = {
    "compute_offering": "large",
    "root_disk_size": 2 * GIB,
    "data_disks": (A, B, C),
    "networks": (*VM["networks"], NicSpec("default")),
}
PLUGS = ("set_memory", "set_cpus", "attach_disk", "attach_nic", "resize_disk")


def changed_until_it_crashes(world: World, call: str, **options: Any) -> AblestackError:
    controller = world.controller()

    def die() -> None:
        vm = domain(world)
        vm.live, vm.power = None, Power.OFF
        raise AblestackError(Code.INTERNAL, "the QEMU process died", crashed=True)

    controller.hosts["kvm01"].act_at(call, die)
    with pytest.raises(AblestackError, match="died") as crashed, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**{"name": "web1", "wait": "none", **GROWN, **options}))
    return crashed.value


@pytest.mark.parametrize("call", PLUGS)
def test_the_same_task_again_makes_the_change_and_starts_it(call: str) -> None:
    world = site()
    apply(world, **VM)
    crashed = changed_until_it_crashes(world, call)
    assert crashed.details["step"] == call.replace("_", " ").title().replace(" ", "")
    assert apply(world, check=True, name="web1", **GROWN).result["vm"]["state"] == "Running"
    done = apply(world, name="web1", **GROWN)
    vm = done.result["vm"]
    assert (vm["state"], vm["cpu"], vm["memory"], vm["disks"][0]["size_gib"]) == ("Running", 4, 2048, 2)
    assert [disk["name"] for disk in vm["disks"]] == ["root", "a", "b", "c"]
    assert len(vm["nics"]) == 3
    assert not done.result["restart_required"]
    assert not apply(world, name="web1", **GROWN).changed


def test_what_the_change_had_not_reached_is_as_it_was() -> None:
    world = site()
    apply(world, **VM)
    changed_until_it_crashes(world, "set_cpus")
    anew = apply(world, name="web1", state="reinstalled").result["vm"]
    assert (anew["state"], anew["cpu"], anew["disks"][0]["size_gib"]) == ("Running", 2, 1)
    apply(world, name="web1", **GROWN)
    assert apply(world, name="web1", state="reinstalled").result["vm"]["disks"][0]["size_gib"] == 2


@pytest.mark.parametrize("state", ["stopped", "destroyed", "expunged"])
def test_it_is_not_started_for_a_task_that_wants_it_off(state: str) -> None:
    world = site()
    apply(world, **VM)
    changed_until_it_crashes(world, "set_cpus")
    apply(world, name="web1", state=state)
    assert not any(vm.active for vm in world.state.domains.values())
    assert not apply(world, name="web1", state=state).changed


# --- how a host tells a crash from any other failure


class DyingGuest:
    """A domain of the test driver whose QEMU process ends when a processor is plugged in; libvirt is slow to see it."""

    def __init__(self, real: Any, text: str, states: list[list[int]]) -> None:
        self.real, self.text, self.states = real, text, states

    def setVcpusFlags(self, _count: int, _flags: int) -> None:  # noqa: N802
        error = libvirt.libvirtError("")
        error.err = (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_QEMU, self.text, 2, "", None, None, 0, 0)
        raise error

    def state(self) -> list[int]:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


RUNS = [libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_RUNNING_BOOTED]
CRASHED = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED]
WENT_DOWN = [libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN]
RESET = "Unable to read from monitor: Connection reset by peer"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(libvirt_devices, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(libvirt_devices, "CRASH_TIME", 0.05)
    with driver_host(tmp_path) as connected:
        connected.define(replace(vm_config(virt_type="test"), max_cpu=4))
        connected.start(ID)
        yield connected


@pytest.mark.parametrize(
    ("text", "states", "crashed"),
    [(RESET, [RUNS, RUNS, CRASHED], True), (RESET, [RUNS], False), (RESET, [WENT_DOWN], False),
     ("no way", [CRASHED], False)],
)  # fmt: skip
def test_a_crash_is_told_from_other_failures(host: Any, text: str, states: list[list[int]], crashed: bool) -> None:
    host._domains[ID] = DyingGuest(host._domains[ID], text, list(states))
    with pytest.raises(AblestackError) as raised:
        host.set_cpus(ID, 2)
    assert bool(raised.value.details.get("crashed")) is crashed
    assert ("the QEMU process of VM 'web1' died" in raised.value.message) is crashed
    assert raised.value.details["libvirt"] == text
