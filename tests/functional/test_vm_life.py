# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a VM over hosts in memory: every state, twice, and what check mode says of it beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.outcome import Incomplete, Outcome
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.expunge import expunge_due
from ansible_collections.ablestack.kvm.plugins.module_utils.core.usecase.vm import apply_vm
from support.worlds import World, make_world

WEB = {
    "name": "web1",
    "template": "tiny",
    "compute_offering": "small",
    "networks": (NicSpec("default"),),
    "ssh_key_pairs": ("ops",),
    "user_data": "#cloud-config\npassword: s3cret-phrase\n",
}


def apply(world: World, check: bool = False, **options: Any) -> Outcome:
    """One task of a new process."""
    with world.controller(check).infrastructure as infrastructure:
        return apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))


def thrice(world: World, **options: Any) -> Outcome:
    """Check, run, run again: check predicts the run, and the second run does nothing at all."""
    predicted = apply(world, check=True, **options)
    done = apply(world, **options)
    assert predicted.changed == done.changed
    assert (predicted.before, predicted.after) == (done.before, done.after)
    assert predicted.result["changes"] == done.result["changes"]
    again = world.controller()
    with again.infrastructure as infrastructure:
        second = apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))
    assert not second.changed, second.result["changes"]
    assert again.writes == []
    assert second.before == second.after
    return done


def code_of(world: World, **options: Any) -> Code:
    """The error code of a task that must be refused, in check mode and in a run, with nothing written."""
    controller = world.controller(check=True)
    with pytest.raises(AblestackError) as predicted, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))
    controller = world.controller()
    with pytest.raises(AblestackError) as refused, controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**{"wait": "none", **options}))
    assert controller.writes == []
    assert predicted.value.code == refused.value.code
    return refused.value.code


def test_a_deploy_runs_the_vm_with_everything_that_was_asked_for() -> None:
    world = make_world()
    done = thrice(world, **WEB, group="web", labels=(("tier", "front"),), root_disk_size=2 * GIB)
    vm = done.result["vm"]
    assert (vm["name"], vm["state"], vm["template"]) == ("web1", "Running", "tiny")
    assert (vm["cpu"], vm["memory"], vm["compute_offering"]) == (1, 512, "small")
    assert vm["labels"] == {"tier": "front"}
    assert vm["disks"][0]["size_gib"] == 2
    assert sorted(name for name in world.pool.volumes if name.startswith("vm-")) == [
        f"vm-web1-{vm['id'][:8]}-root.qcow2",
        f"vm-web1-{vm['id'][:8]}-seed.iso",
    ]


def test_what_a_deploy_asks_of_a_host_that_is_known() -> None:
    world = make_world()
    apply(world, **{**WEB, "name": "web0"})
    controller = world.controller()
    with controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**{"wait": "none", **WEB}))
    calls = [name for name, _arguments in controller.hosts["kvm01"].calls]
    written = calls[calls.index("define") :]
    assert written == [
        "define",
        "download",
        "volume",
        *["create_volume"] * 2,
        "upload",
        "set_record",
        "start",
        "set_record",
        "glance",
    ]


def test_without_start_it_is_stopped_and_complete() -> None:
    world = make_world()
    assert thrice(world, **WEB, start=False).result["vm"]["state"] == "Stopped"
    assert thrice(world, name="web1", state="started").result["vm"]["state"] == "Running"


def test_power_states() -> None:
    world = make_world()
    apply(world, **WEB)
    assert thrice(world, name="web1", state="stopped").result["vm"]["state"] == "Stopped"
    assert thrice(world, name="web1", state="started").result["vm"]["state"] == "Running"
    assert thrice(world, name="web1", state="stopped", forced=True).result["vm"]["state"] == "Stopped"
    assert apply(world, name="web1", state="restarted").result["vm"]["state"] == "Running"
    restarted = apply(world, name="web1", state="restarted")
    assert restarted.changed
    assert restarted.result["vm"]["state"] == "Running"


def test_a_guest_that_does_not_go_down_is_an_error_and_keeps_running() -> None:
    world = make_world()
    apply(world, **WEB)
    guest = next(iter(world.state.domains.values())).guest
    guest.shuts_down = guest.reboots = False
    for state in ("stopped", "restarted"):
        with pytest.raises(AblestackError) as error:
            apply(world, name="web1", state=state, timeout=0)
        assert error.value.code is Code.TIMEOUT
        assert apply(world, name="web1").result["vm"]["state"] == "Running"
    done = apply(world, name="web1", state="stopped", timeout=0, force_after_timeout=True)
    assert done.result["vm"]["state"] == "Stopped"


def test_a_guest_that_does_not_go_down_for_a_change_is_left_as_it_was() -> None:
    world = make_world()
    apply(world, **WEB)
    domain = next(iter(world.state.domains.values()))
    before = domain.config
    domain.guest.shuts_down = False
    with pytest.raises(AblestackError) as error:
        apply(world, name="web1", compute_offering="custom", cpu=2, memory=512, allow_restart=True, timeout=0)
    assert error.value.code is Code.TIMEOUT
    assert next(iter(world.state.domains.values())).config == before


def test_destroy_recover_expunge() -> None:
    world = make_world()
    first = apply(world, **WEB).result["vm"]
    destroyed = thrice(world, name="web1", state="destroyed").result["vm"]
    assert (destroyed["state"], destroyed["id"]) == ("Destroyed", first["id"])
    assert destroyed["destroyed_at"]
    assert destroyed["expunge_at"] > destroyed["destroyed_at"]
    recovered = thrice(world, name="web1", state="recovered").result["vm"]
    assert (recovered["state"], recovered["id"]) == ("Stopped", first["id"])
    assert recovered["nics"] == first["nics"]
    apply(world, name="web1", state="destroyed")
    second = apply(world, **WEB).result["vm"]
    assert second["id"] != first["id"]
    thrice(world, name="web1", state="expunged")
    assert not world.state.domains
    assert [name for name in world.pool.volumes if not name.startswith("tmpl-")] == []


def test_expunge_deletes_exactly_the_data_disks_that_were_named() -> None:
    world = make_world()
    disks = (DiskSpec("keep", size=GIB), DiskSpec("drop", size=GIB))
    vm = thrice(world, **WEB, data_disks=disks).result["vm"]
    assert [disk["device"] for disk in vm["disks"]] == [0, 1, 2]
    assert code_of(world, name="web1", state="destroyed", delete_data_disks=("nope",)) is Code.INVALID_INPUT
    apply(world, name="web1", state="destroyed", delete_data_disks=("drop",))
    assert {"vol-keep.qcow2", "vol-drop.qcow2"} <= set(world.pool.volumes)
    apply(world, name="web1", state="expunged")
    assert "vol-keep.qcow2" in world.pool.volumes
    assert "vol-drop.qcow2" not in world.pool.volumes


def test_the_newest_of_several_destroyed_is_recovered_unless_the_id_says_which() -> None:
    world = make_world()
    ids = []
    for _round in range(2):
        ids.append(apply(world, **WEB).result["vm"]["id"])
        apply(world, name="web1", state="destroyed")
    assert apply(world, id=ids[0], state="recovered").result["vm"]["id"] == ids[0]
    assert code_of(world, id=ids[1], state="recovered") is Code.ALREADY_EXISTS


def test_changes_are_applied_or_refused_as_the_power_allows() -> None:
    world = make_world()
    apply(world, **WEB)
    done = thrice(world, name="web1", display_name="Web one", labels=(("a", "b"),), group="g", autostart=True)
    assert {change["path"] for change in done.result["changes"]} == {"display_name", "labels", "group", "autostart"}
    assert code_of(world, name="web1", cpu=2, memory=512, compute_offering="custom") is Code.INVALID_STATE
    moved = thrice(world, name="web1", cpu=2, memory=512, compute_offering="custom", allow_restart=True)
    assert (moved.result["vm"]["cpu"], moved.result["vm"]["state"]) == (2, "Running")
    grown = thrice(world, name="web1", state="stopped", root_disk_size=3 * GIB)
    assert grown.result["vm"]["disks"][0]["size_gib"] == 3
    assert code_of(world, name="web1", root_disk_size=GIB) is Code.INVALID_INPUT
    assert not apply(world, name="web1").changed


def test_changed_user_data_shows_without_telling_it() -> None:
    world = make_world()
    apply(world, **WEB)
    done = thrice(world, name="web1", user_data="#cloud-config\npassword: other-phrase\n")
    assert [change["path"] for change in done.result["changes"]] == ["user_data"]
    assert "phrase" not in repr(done)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"template": "nope"}, Code.NOT_FOUND),
        ({"root_disk_size": GIB // 2}, Code.INVALID_INPUT),
        ({"compute_offering": "nope"}, Code.NOT_FOUND),
        ({"networks": (NicSpec("nope"),)}, Code.NOT_FOUND),
        ({"networks": (NicSpec("default", ip="10.9.9.9"),)}, Code.INVALID_INPUT),
        ({"networks": (NicSpec("default", ip="192.168.122.1"),)}, Code.CONFLICT),
        ({"networks": (NicSpec("default", mac="53:54:00:00:00:01"),)}, Code.INVALID_INPUT),
        ({"networks": ()}, Code.INVALID_INPUT),
        ({"ssh_key_pairs": ("nope",)}, Code.NOT_FOUND),
        ({"host": "nope"}, Code.NOT_FOUND),
        ({"zone": "nope"}, Code.NOT_FOUND),
        ({"boot_mode": "secure", "boot_type": "bios"}, Code.INVALID_INPUT),
        ({"compute_offering": "tagged"}, Code.INSUFFICIENT_CAPACITY),
        ({"data_disks": (DiskSpec("d", offering="data1", size=5 * GIB),)}, Code.INVALID_INPUT),
    ],
)
def test_a_bad_deploy_is_refused_before_anything_is_written(options: dict[str, Any], code: Code) -> None:
    assert code_of(make_world(), **{**WEB, **options}) is code


def test_protection_and_absence() -> None:
    world = make_world()
    apply(world, **WEB, protected=True)
    for state in ("destroyed", "expunged"):
        assert code_of(world, name="web1", state=state) is Code.PROTECTED
    assert code_of(world, name="other", state="started") is Code.NOT_FOUND
    assert code_of(world, name="other", state="recovered") is Code.NOT_FOUND
    assert not apply(world, name="other", state="destroyed").changed
    assert not apply(world, name="other", state="expunged").changed


def test_addresses_are_kept_by_reservation_in_networks_of_ours_and_by_the_seed_elsewhere() -> None:
    world = make_world()
    networks = (NicSpec("lan", ip="10.10.10.50"), NicSpec("default", ip="192.168.122.50"))
    vm = thrice(world, **{**WEB, "networks": networks}).result["vm"]
    lan, default = world.state.networks["lan"].facts, world.state.networks["default"].facts
    assert [(entry.ip, entry.name) for entry in lan.reservations] == [("10.10.10.50", "web1")]
    assert default.reservations == ()
    assert [nic["ip"] for nic in vm["nics"]] == ["10.10.10.50", "192.168.122.50"]
    taken = {**WEB, "name": "web2", "networks": (NicSpec("default", ip="192.168.122.50"),)}
    assert code_of(world, **taken) is Code.CONFLICT
    apply(world, name="web1", state="expunged")
    assert world.state.networks["lan"].facts.reservations == ()


def test_a_failed_first_deploy_leaves_nothing_behind() -> None:
    before = make_world()
    steps = len(_deploy_writes(before))
    for position in range(1, steps + 1):
        world = make_world()
        volumes = set(world.pool.volumes)
        controller = world.controller()
        controller.hosts["kvm01"].fail_at(position, AblestackError(Code.INTERNAL, "injected"))
        with pytest.raises(AblestackError), controller.infrastructure as infrastructure:
            apply_vm(infrastructure, VmSpec(**WEB, wait="none"))
        assert set(world.pool.volumes) == volumes, position
        assert not world.state.domains, position


def _deploy_writes(world: World) -> list[str]:
    controller = world.controller()
    with controller.infrastructure as infrastructure:
        apply_vm(infrastructure, VmSpec(**WEB, wait="none"))
    return controller.writes


def test_what_is_due_is_expunged_and_a_host_that_is_down_keeps_nobody_else_waiting() -> None:
    world = make_world(hosts=2)
    for number, host in enumerate(("kvm01", "kvm02"), 1):
        apply(world, **{**WEB, "name": f"web{number}"}, host=host)
        apply(world, name=f"web{number}", state="destroyed", expunge_delay=0)
    apply(world, **{**WEB, "name": "later"}, host="kvm01")
    apply(world, name="later", state="destroyed")
    world.down.add("kvm02")
    with pytest.raises(Incomplete) as error, world.controller().infrastructure as infrastructure:
        expunge_due(infrastructure)
    assert error.value.code is Code.HOST_UNAVAILABLE
    assert error.value.message.startswith("it is not known everywhere what is due: host 'kvm02' cannot be reached")
    assert [row["name"] for row in error.value.outcome.result["expunged"]] == ["web1"]
    world.down.clear()
    with world.controller().infrastructure as infrastructure:
        assert [row["name"] for row in expunge_due(infrastructure).result["expunged"]] == ["web2"]
    again = world.controller()
    with again.infrastructure as infrastructure:
        assert not expunge_due(infrastructure).changed
    assert again.writes == []
    assert apply(world, name="later", state="recovered").changed


@pytest.mark.parametrize("clone", ["linked", "full"])
def test_a_full_pool_is_told_and_nothing_is_left_in_it(clone: str) -> None:
    world = make_world()
    world.pool.capacity = sum(volume.allocation for volume in world.pool.volumes.values()) + 1
    volumes = set(world.pool.volumes)
    with pytest.raises(AblestackError) as error:
        apply(world, **WEB, clone=clone)
    assert error.value.code is Code.INSUFFICIENT_CAPACITY
    assert set(world.pool.volumes) == volumes
    assert not world.state.domains


def test_a_fat_disk_that_does_not_fit_is_refused_before_anything_is_written() -> None:
    world = make_world(disk_offerings={"solid": {"size": 60, "provisioning": "fat"}})
    apply(world, **WEB)
    two = (DiskSpec("x", offering="solid"), DiskSpec("y", offering="solid"))
    assert code_of(world, name="web1", data_disks=two) is Code.INSUFFICIENT_CAPACITY
    thrice(world, name="web1", data_disks=two[:1])
