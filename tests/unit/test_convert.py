"""From options to a specification: what is accepted, what it becomes, and what each refusal says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.values import GIB, UNSET
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm_spec import DiskSpec, NicSpec, VmSpec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.convert import MAX_USER_DATA, vm_spec
from ansible_collections.ablestack.kvm.plugins.module_utils.face.vm_options import DISK_OPTIONS, VM_OPTIONS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops@example"
UUID = "5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10"


def spec(**options: Any) -> VmSpec:
    return vm_spec({"name": "web01", **options})


def refusal(options: dict[str, Any], place: str = "") -> AblestackError:
    with pytest.raises(AblestackError) as caught:
        vm_spec(options, place)
    assert caught.value.code is Code.INVALID_INPUT
    return caught.value


def test_every_option_is_a_field_of_the_specification_and_the_other_way_round() -> None:
    assert set(VM_OPTIONS) == {field.name for field in fields(VmSpec)}
    assert set(DISK_OPTIONS) - {"disk_offering"} == {field.name for field in fields(DiskSpec)} - {"offering"}


def test_what_is_left_out_is_not_managed() -> None:
    assert spec() == VmSpec(name="web01")


def test_the_parameters_of_a_task_that_names_nothing_else_are_an_empty_specification() -> None:
    params = {name: option.get("default") for name, option in VM_OPTIONS.items()}
    assert vm_spec({**params, "name": "web01"}) == VmSpec(name="web01")


def test_a_complete_task() -> None:
    assert vm_spec(
        {
            "name": "db01",
            "id": UUID.upper(),
            "state": "started",
            "zone": "seoul",
            "template": "debian12",
            "root_disk_size": "20",
            "clone": "full",
            "compute_offering": "medium",
            "cpu": 2,
            "memory": "4GiB",
            "data_disks": [
                {"name": "data", "disk_offering": "data20", "size": None, "device": 1},
                {"name": "log", "size": "512MiB", "min_iops": 100, "max_iops": 500, "pool": "nvme"},
            ],
            "networks": ["lan", {"name": "backup", "ip": "10.0.0.5", "mac": "52:54:00:AA:BB:CC", "model": "e1000"}],
            "ssh_key_pairs": ["ops", "dev", "ops"],
            "ssh_public_keys": [f" {KEY}\n"],
            "boot_type": "uefi",
            "boot_mode": "secure",
            "tpm": True,
            "user_data": "#!/bin/sh\r\necho 'ö'\n",
            "labels": {"tier": 1, "production": True, "owner": "web"},
            "start": False,
            "attached_iso": "",
            "timeout": 60,
            "delete_data_disks": ["data", "log", "data"],
            "expunge_delay": 0,
            "wait": "cloud_init",
        }
    ) == VmSpec(
        name="db01",
        id=UUID,
        state="started",
        zone="seoul",
        template="debian12",
        root_disk_size=20 * GIB,
        clone="full",
        compute_offering="medium",
        cpu=2,
        memory=4096,
        data_disks=(
            DiskSpec("data", "data20", device=1),
            DiskSpec("log", size=GIB // 2, min_iops=100, max_iops=500, pool="nvme"),
        ),
        networks=(NicSpec("lan"), NicSpec("backup", "10.0.0.5", "52:54:00:aa:bb:cc", "e1000")),
        ssh_key_pairs=("ops", "dev"),
        ssh_public_keys=(KEY,),
        boot_type="uefi",
        boot_mode="secure",
        tpm=True,
        user_data="#!/bin/sh\r\necho 'ö'\n",
        labels=(("owner", "web"), ("production", "true"), ("tier", "1")),
        start=False,
        attached_iso="",
        timeout=60,
        delete_data_disks=("data", "log"),
        expunge_delay=0,
        wait="cloud_init",
    )


def test_plain_data_of_a_fleet_gets_the_types_that_ansible_gives_a_task() -> None:
    loose = spec(cpu="2", memory=1024, root_disk_size=10, start="no", tpm="yes", wait_timeout="60", ssh_key_pairs="ops")
    strict = spec(
        cpu=2, memory="1024", root_disk_size="10", start=False, tpm=True, wait_timeout=60, ssh_key_pairs=["ops"]
    )
    assert loose == strict


def test_absent_is_destroyed() -> None:
    assert spec(state="absent").state == "destroyed"


@pytest.mark.parametrize(
    ("value", "wanted"), [("none", "none"), ("all", "all"), ([], "none"), (["a", "b"], ("a", "b"))]
)
def test_which_data_disks_are_deleted(value: Any, wanted: Any) -> None:
    assert spec(delete_data_disks=value).delete_data_disks == wanted


def test_empty_lists_are_managed_and_left_out_ones_are_not() -> None:
    assert spec(data_disks=[]).data_disks == ()
    assert spec(data_disks=None).data_disks is UNSET
    assert spec(labels={}).labels == ()


def test_an_address_is_kept_in_its_usual_notation() -> None:
    assert spec(networks=[{"name": "lan", "ip": "FD00::0:5"}]).networks == (NicSpec("lan", "fd00::5"),)
    assert spec(networks=[{"name": "lan", "ip": "10.0.0.5/24"}]).networks == (NicSpec("lan", "10.0.0.5/24"),)


def test_user_data_may_have_32_kib_of_utf8_and_not_a_byte_more() -> None:
    longest = "ö" * (MAX_USER_DATA // 2)
    assert spec(user_data=longest).user_data == longest
    error = refusal({"name": "web01", "user_data": longest + "x"})
    assert "32769 bytes" in error.sentence
    assert "ö" not in error.sentence


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "neither name nor id is given"),
        ({"name": ""}, "'' is not a host name"),
        ({"name": "1st"}, "'1st' is not a host name"),
        ({"name": "web-"}, "'web-' is not a host name"),
        ({"name": "web01\n"}, "is not a host name"),
        ({"name": "\u017ferver"}, "is not a host name"),
        ({"name": 7}, "'7' is not a host name"),
        ({"name": "a" * 64}, "is not a host name"),
        ({"id": "5a1e7d0c"}, "'5a1e7d0c' is not a UUID"),
        ({"state": "gone"}, "state 'gone' is not known: write one of present"),
        ({"wait": "forever"}, "wait 'forever' is not known: write one of none, running"),
        ({"zone": " "}, "zone is empty"),
        ({"template": "a", "iso": "b"}, "template and iso exclude each other"),
        ({"template": "../etc/passwd"}, "template name '../etc/passwd' is not usable"),
        ({"attached_iso": "a/b"}, "attached_iso name 'a/b' is not usable"),
        ({"root_disk_size": "big"}, "root_disk_size 'big' is not a size"),
        ({"root_disk_size": -1}, "root_disk_size '-1' is not a size"),
        ({"memory": "1GB"}, "memory '1GB' is not a whole number of MiB"),
        ({"cpu": 0}, "cpu is 0: write a number between 1 and 4096"),
        ({"cpu": True}, "cpu is 'True': write a whole number"),
        ({"cpu": "two"}, "cpu is 'two': write a whole number"),
        ({"start": "maybe"}, "start is 'maybe': write true or false"),
        ({"timeout": 0}, "timeout is 0: write a number between 1"),
        ({"expunge_delay": -5}, "expunge_delay is -5: write a number between 0"),
        ({"boot_type": "bios", "boot_mode": "secure"}, "secure boot needs UEFI"),
        ({"data_disks": "data"}, "data_disks[0] must be a mapping"),
        ({"data_disks": 5}, "data_disks must be a list"),
        ({"data_disks": [{"size": 5}]}, "data_disks[0] has no name"),
        ({"data_disks": [{"name": "a/b"}]}, "name 'a/b' is not usable"),
        ({"data_disks": [{"name": "a", "size": "x"}]}, "size of data_disks[0] 'a' 'x' is not a size"),
        ({"data_disks": [{"name": "a", "sise": 5}]}, "unknown option 'sise' in data_disks[0]: did you mean 'size'?"),
        ({"data_disks": [{"name": "a"}, {"name": "a"}]}, "data disk 'a' is named twice"),
        ({"data_disks": [{"name": "a", "device": 3}]}, "is 3, which is the CD drive's"),
        (
            {"data_disks": [{"name": "a", "device": 0}]},
            "device of data_disks[0] 'a' is 0: write a number between 1 and 23",
        ),
        ({"data_disks": [{"name": "a", "device": 1}, {"name": "b", "device": 1}]}, "'1' is named twice"),
        ({"data_disks": [{"name": "a", "min_iops": 9, "max_iops": 5}]}, "has min_iops above max_iops"),
        ({"networks": []}, "networks is an empty list"),
        ({"networks": [7]}, "networks[0] must be a mapping"),
        ({"networks": [{"ip": "10.0.0.1"}]}, "networks[0] has no name"),
        ({"networks": [{"name": "lan", "nam": "x"}]}, "unknown option 'nam' in networks[0]"),
        ({"networks": [{"name": "lan", "ip": "10.0.0.300"}]}, "'10.0.0.300' is not an IP address"),
        ({"networks": [{"name": "lan", "ip": "10.0.0.3/33"}]}, "'10.0.0.3/33' is not an IP address"),
        ({"networks": [{"name": "lan", "ip": "224.0.0.1"}]}, "'224.0.0.1' is not an address for a VM"),
        ({"networks": [{"name": "lan", "mac": "01:00:5e:00:00:01"}]}, "is not a unicast address"),
        (
            {"networks": [{"name": "lan", "model": "ne1000"}]},
            "model of networks[0] 'ne1000' is not known: write one of virtio",
        ),
        ({"networks": [{"name": "a", "mac": "52:54:00:00:00:0a"}, {"name": "b", "mac": "52:54:00:00:00:0A"}]}, "twice"),
        (
            {"networks": [{"name": "a", "ip": "10.0.0.5"}, {"name": "a", "ip": "10.0.0.5"}]},
            "'10.0.0.5 in a' is named twice",
        ),
        ({"ssh_public_keys": ["AAAA"]}, "ssh_public_keys[0] is not one public SSH key"),
        ({"ssh_public_keys": ["no key"]}, "ssh_public_keys[0] is not one public SSH key"),
        ({"ssh_public_keys": [f"{KEY}\n{KEY}"]}, "ssh_public_keys[0] is not one public SSH key"),
        ({"user_data": {"packages": []}}, "user_data must be a text"),
        ({"user_data": "\udc80"}, "user_data is not UTF-8 text"),
        ({"labels": "a=b"}, "labels must be a mapping"),
        ({"labels": {"a": ["b"]}}, "label 'a' must be a text"),
        ({"labels": {"": "b"}}, "the name of a label is empty"),
        ({"labels": {"a": "b\nc"}}, "label 'a' has a line break or a control character"),
        ({"display_name": "x" * 256}, "display_name has 256 characters"),
        ({"group": "web\x00"}, "group has a line break or a control character"),
        ({"delete_data_disks": "data"}, "for one disk write a list: [data]"),
        ({"nmae": "web01"}, "unknown option 'nmae': did you mean 'name'?"),
        ({"uri": "qemu:///system"}, "unknown option 'uri'"),
    ],
)
def test_a_refusal_names_the_option_and_the_remedy_on_one_line(options: dict[str, Any], said: str) -> None:
    named = options if "name" in options or not options else {"name": "web01", **options}
    sentence = refusal(named).sentence
    assert said in sentence
    assert "\n" not in sentence.replace("web01\n", "")


def test_an_entry_of_a_fleet_is_named_by_its_place() -> None:
    assert refusal({"name": "web01", "cpu": 0}, "vms[3]").sentence.startswith(
        "vms[3]: cpu is 0: write a number between"
    )
    assert refusal({}, "vms[0]").sentence.startswith("vms[0]: neither name nor id")


@pytest.mark.parametrize("options", [None, "web01", ["web01"]])
def test_what_is_no_mapping_is_no_vm(options: Any) -> None:
    assert "a VM must be a mapping" in refusal(options).sentence


def test_neither_a_refused_key_nor_refused_user_data_is_shown() -> None:
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----"
    error = refusal({"name": "web01", "ssh_public_keys": [private]})
    assert "b3Blb" not in f"{error.sentence} {error.as_dict()}"
    error = refusal({"name": "web01", "user_data": ["hunter2"]})
    assert "hunter2" not in f"{error.sentence} {error.as_dict()}"


def test_user_data_stays_out_of_the_specification_s_repr() -> None:
    assert "hunter2" not in repr(spec(user_data="password: hunter2"))


ODD = [
    None, True, 0, -1, 3.5, float("nan"), 10**30, "", " ", "x", "\x00", "\ud800", "9" * 500, b"x", (), [], [None], [[]],
    [{}], [{"name": []}], [{"name": "a", "size": {}}], [{"name": "a", "ip": 5, "mac": [], "model": {}}], {},
    {"a": None}, {None: "a"}, {1: {2: 3}}, {"name": None},
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:40])
@pytest.mark.parametrize("option", sorted(VM_OPTIONS))
def test_every_option_alone_takes_or_refuses_odd_values(option: str, value: Any) -> None:
    code = Code.INVALID_INPUT
    try:
        vm_spec({"name": "web01", option: value})
    except AblestackError as error:
        code = error.code
    assert code is Code.INVALID_INPUT
