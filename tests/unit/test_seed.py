"""The NoCloud seed: what a guest reads from it, that equal contents make equal bytes, and that digests tell nothing."""

from __future__ import annotations

import builtins
import io
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pycdlib
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.seed_content import SeedContent, SeedNic
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.digest import keys_digest, user_data_digest
from ansible_collections.ablestack.kvm.plugins.module_utils.core.seed.seed import build_seed, read_seed

UUID = "5a1e7d0c-93a4-4c0e-9f6e-3f3f1f7f8f10"
OTHER = "6b2f8e1d-93a4-4c0e-9f6e-3f3f1f7f8f10"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample ops@example"
MAC1, MAC2, MAC3 = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"
CONTENT = SeedContent(
    UUID,
    "web01",
    (KEY, f"{KEY}2"),
    (SeedNic(MAC1, "10.0.0.5/24", "10.0.0.1", ("10.0.0.1", "1.1.1.1")), SeedNic(MAC2)),
    "#cloud-config\nruncmd:\n  - echo 'ö'\n",
)
TINY_YAML = Path(__file__).parents[2] / "tests/lab/image/tiny-root/sbin/tiny-yaml.awk"
FIXED = b"\x64\x01\x01\x00\x00\x00\x00"  # 2000-01-01 00:00:00, offset 0: a time of ISO 9660 9.1.5

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
lines = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60)
calm = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def opened(image: bytes) -> Any:
    iso = pycdlib.PyCdlib()
    iso.open_fp(io.BytesIO(image))
    return iso


def names(iso: Any) -> set[str]:
    """What is in its root, as a guest sees it."""
    found = {entry.rock_ridge.name().decode() for entry in iso.list_children(rr_path="/")}
    return found - {"", ".", ".."}


def document(image: bytes, name: str, **view: str) -> bytes:
    out = io.BytesIO()
    opened(image).get_file_from_iso_fp(out, **(view or {"rr_path": f"/{name}"}))
    return out.getvalue()


def network_of(*nics: SeedNic) -> Any:
    return yaml.safe_load(document(build_seed(replace(CONTENT, nics=nics)), "network-config"))


def test_it_is_a_volume_that_cloud_init_finds_with_the_files_it_knows() -> None:
    iso = opened(build_seed(CONTENT))
    assert iso.pvd.volume_identifier.rstrip() == b"cidata"
    assert iso.has_rock_ridge()
    assert iso.has_joliet()
    assert names(iso) == {"meta-data", "network-config", "user-data"}


def test_guests_without_rock_ridge_read_the_same_files() -> None:
    image = build_seed(CONTENT)
    for name in ("meta-data", "user-data", "network-config"):
        assert document(image, name, joliet_path=f"/{name}") == document(image, name)


def test_no_user_of_the_guest_but_root_reads_it() -> None:
    for name in ("meta-data", "user-data", "network-config"):
        mode = opened(build_seed(CONTENT)).get_record(rr_path=f"/{name}").rock_ridge.get_file_mode()
        assert oct(mode) == "0o100400"


def test_the_meta_data_says_who_the_guest_is_and_who_may_log_in() -> None:
    meta = yaml.safe_load(document(build_seed(CONTENT), "meta-data"))
    assert meta.pop("ablestack-key-pairs") == 0
    assert meta == {"instance-id": UUID, "local-hostname": "web01", "public-keys": [KEY, f"{KEY}2"]}


def test_keys_of_key_pairs_are_told_from_the_others() -> None:
    content = replace(CONTENT, pair_keys=(KEY,), public_keys=(f"{KEY}2", KEY))
    assert yaml.safe_load(document(build_seed(content), "meta-data"))["public-keys"] == [KEY, f"{KEY}2", KEY]
    assert read_seed(build_seed(content)) == content


def test_a_seed_of_before_does_not_tell_them_apart_and_is_built_again_as_it_was() -> None:
    old = replace(CONTENT, pair_keys=None)
    assert "ablestack-key-pairs" not in yaml.safe_load(document(build_seed(old), "meta-data"))
    assert read_seed(build_seed(old)) == old


def test_without_keys_the_image_s_own_way_to_log_in_is_left_alone() -> None:
    meta = yaml.safe_load(document(build_seed(replace(CONTENT, public_keys=())), "meta-data"))
    assert "public-keys" not in meta


def test_a_nic_is_found_by_its_mac_and_gets_its_address_from_the_seed_or_by_dhcp() -> None:
    assert network_of(*CONTENT.nics) == {
        "version": 2,
        "ethernets": {
            "eth0": {
                "match": {"macaddress": MAC1},
                "dhcp4": False,
                "addresses": ["10.0.0.5/24"],
                "routes": [{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
                "nameservers": {"addresses": ["10.0.0.1", "1.1.1.1"]},
            },
            "eth1": {"match": {"macaddress": MAC2}, "dhcp4": True, "dhcp4-overrides": {"route-metric": 200}},
        },
    }


def test_only_the_first_nic_has_a_default_route() -> None:
    nics = network_of(SeedNic(MAC1), SeedNic(MAC2, "10.0.1.5/24", "10.0.1.1"), SeedNic(MAC3))["ethernets"]
    assert nics["eth0"] == {"match": {"macaddress": MAC1}, "dhcp4": True}
    assert "routes" not in nics["eth1"]
    assert nics["eth2"]["dhcp4-overrides"] == {"route-metric": 300}


def test_the_gateways_of_the_others_are_remembered_for_when_one_becomes_the_first() -> None:
    content = replace(CONTENT, nics=(SeedNic(MAC1), SeedNic(MAC2, "10.0.1.5/24", "10.0.1.1", ("10.0.1.1",))))
    assert read_seed(build_seed(content)) == content


def test_an_ipv6_address_has_an_ipv6_route() -> None:
    nic = network_of(SeedNic(MAC1, "fd00::5/64", "fd00::1"))["ethernets"]["eth0"]
    assert nic["routes"] == [{"to": "::/0", "via": "fd00::1"}]


def test_without_nics_cloud_init_is_left_to_find_one() -> None:
    assert names(opened(build_seed(replace(CONTENT, nics=())))) == {"meta-data", "user-data"}


@pytest.mark.parametrize(
    "user_data",
    [
        "",
        "#cloud-config\n",
        "#!/bin/sh\necho '\"$X\"' \\\n",
        "## template: jinja\n#cloud-config\nhostname: {{ v1.local_hostname }}\n",
        "Content-Type: multipart/mixed; boundary=x\r\nMIME-Version: 1.0\r\n\r\n--x\r\n",
        "no newline at the end",
        "\ufeff\x00\x85\u2028",
        "x" * 32768,
    ],
)
def test_user_data_reaches_the_guest_byte_by_byte(user_data: str) -> None:
    image = build_seed(replace(CONTENT, user_data=user_data))
    assert document(image, "user-data") == user_data.encode()
    assert read_seed(image).user_data == user_data


@calm
@given(texts, lines, st.lists(lines, max_size=3))
def test_whatever_the_texts_the_seed_reads_back_as_it_was(user_data: str, hostname: str, keys: list[str]) -> None:
    content = SeedContent(UUID, hostname, tuple(keys), CONTENT.nics, user_data)
    assert read_seed(build_seed(content)) == content


@calm
@given(lines, lines)
def test_yaml_readers_read_what_json_readers_read(hostname: str, key: str) -> None:
    meta = document(build_seed(SeedContent(UUID, hostname, (key,))), "meta-data")
    assert yaml.safe_load(meta) == json.loads(meta)
    assert json.loads(meta)["public-keys"] == [key]


def test_the_lab_s_guest_reads_it_too() -> None:
    odd = f'ssh-rsa AAAA+/= "it\'s" \\o/ {{}} [] #x: ö@{UUID}'
    image = build_seed(replace(CONTENT, public_keys=(odd, KEY)))
    read = {}
    for name in ("meta-data", "network-config"):
        flat = subprocess.run(
            ["awk", "-f", str(TINY_YAML)], input=document(image, name), capture_output=True, check=True
        ).stdout.decode()
        read.update(line.split("\t", 1) for line in flat.splitlines())
    assert read["instance-id"] == UUID
    assert read["public-keys.0"].replace("\\\\", "\\") == odd
    assert read["public-keys.1"] == KEY
    assert read["version"] == "2"
    assert read["ethernets.eth0.match.macaddress"] == MAC1
    assert read["ethernets.eth0.addresses.0"] == "10.0.0.5/24"
    assert read["ethernets.eth1.dhcp4"] == "true"


def test_equal_contents_make_equal_bytes_at_any_time_in_any_time_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = build_seed(CONTENT)
    genuine = time.time
    monkeypatch.setattr(time, "time", lambda: genuine() + 400 * 86400 + 3723)
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        assert build_seed(CONTENT) == before
    finally:
        monkeypatch.undo()
        time.tzset()


def test_no_time_in_it_is_the_time_of_day() -> None:
    image = build_seed(CONTENT)
    iso = opened(image)
    for volume in (iso.pvd, iso.joliet_vd):
        assert volume.volume_creation_date.year == volume.volume_effective_date.year == 2000
        assert volume.volume_modification_date.year == 2000
    entries = [*iso.list_children(rr_path="/"), *iso.list_children(joliet_path="/")]
    assert {entry.date.record() for entry in entries} == {FIXED}
    stamps = [entry.rock_ridge.dr_entries.tf_record or entry.rock_ridge.ce_entries.tf_record for entry in entries[:5]]
    assert {stamp.modification_time.record() for stamp in stamps} == {FIXED}
    assert time.strftime("%Y%m%d").encode() not in image


def test_a_seed_whose_content_differs_differs() -> None:
    images = {
        build_seed(content)
        for content in (
            CONTENT,
            replace(CONTENT, hostname="web02"),
            replace(CONTENT, user_data=""),
            replace(CONTENT, public_keys=(KEY,)),
            replace(CONTENT, nics=CONTENT.nics[::-1]),
        )
    }
    assert len(images) == 5


@pytest.mark.parametrize("image", [b"", b"\0" * 69632, b"qcow2" * 20000])
def test_what_is_no_seed_is_refused(image: bytes) -> None:
    with pytest.raises(AblestackError) as caught:
        read_seed(image)
    assert caught.value.code is Code.INVALID_STATE


def test_a_seed_of_another_s_making_is_refused_without_quoting_it() -> None:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="cidata", rock_ridge="1.09")
    for name, path in (("meta-data", "/META_DAT.;1"), ("user-data", "/USER_DAT.;1")):
        iso.add_fp(io.BytesIO(b"hunter2: ["), 10, path, rr_name=name)
    out = io.BytesIO()
    iso.write_fp(out)
    with pytest.raises(AblestackError) as caught:
        read_seed(out.getvalue())
    assert caught.value.code is Code.INVALID_STATE
    assert "hunter2" not in f"{caught.value.sentence} {caught.value.as_dict()}"


def test_without_pycdlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name == "pycdlib":
            raise ModuleNotFoundError("No module named 'pycdlib'", name="pycdlib")
        return genuine(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(AblestackError, match="pycdlib") as caught:
        build_seed(CONTENT)
    assert caught.value.code is Code.UNSUPPORTED
    assert "python3-pycdlib" in caught.value.sentence


def test_user_data_stays_out_of_the_content_s_repr() -> None:
    assert "echo" not in repr(CONTENT)


def test_digests_change_with_their_text_and_their_vm_and_show_neither() -> None:
    digest = user_data_digest(UUID, "password: hunter2")
    assert len(digest) == 32
    assert int(digest, 16)
    assert digest == user_data_digest(UUID.upper(), "password: hunter2")
    assert digest != user_data_digest(UUID, "password: hunter3")
    assert digest != user_data_digest(OTHER, "password: hunter2")
    assert digest != keys_digest(UUID, ["password: hunter2"])


def test_the_order_of_keys_makes_no_difference() -> None:
    assert keys_digest(UUID, [KEY, "b b"]) == keys_digest(UUID, ["b b", f" {KEY}\n", KEY])
    assert keys_digest(UUID, [KEY]) != keys_digest(UUID, [KEY, "b b"])
    assert keys_digest(UUID, [KEY]) != keys_digest(OTHER, [KEY])
