# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain documents: what we write, what we read of others, and edits that touch nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.vm import DiskConfig, NicConfig, VmConfig
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml import domain as documents
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.boot_mapping import nvram_holder, nvram_path
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.document import Document, Field
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.domain_mapping import (
    SPARE_PORTS,
    apply,
    domain_of,
    new_domain,
    read_domain,
    read_live,
)
from ansible_collections.ablestack.kvm.plugins.module_utils.core.xml.metadata_mapping import SEED_NAMESPACE
from support.samples import EDITS, ID, KINDS, check_golden, golden, vm_config

BASE = vm_config()


def ordered(config: VmConfig) -> VmConfig:
    """Disks come in the order of the document, which libvirt sorts by its own mind."""
    return replace(config, disks=tuple(sorted(config.disks, key=lambda disk: disk.target)))


def foreign_marks(text: str) -> str:
    """The definition with things in it that we know nothing of, at every level."""
    root = ElementTree.fromstring(text)
    for place in [
        root,
        *root.iter("devices"),
        *root.iter("disk"),
        *root.iter("interface"),
        *root.iter("os"),
        *root.iter("cpu"),
    ]:
        place.set("marked", "yes")
        ElementTree.SubElement(place, "mark").set("of", place.tag)
    return ElementTree.tostring(root, encoding="unicode")


def marks(text: str) -> list[str]:
    return sorted(str(mark.get("of")) for mark in ElementTree.fromstring(text).iter("mark"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_domain_is_as_the_golden_file_has_it(kind: str) -> None:
    check_golden(f"domain-{kind}.xml", new_domain(KINDS[kind]).text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_domain_reads_back(kind: str) -> None:
    assert read_domain(new_domain(KINDS[kind]).text) == KINDS[kind]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_does_what_it_says_and_nothing_else(edit: str) -> None:
    before, values = EDITS[edit]
    after = replace(before, **values)
    text = foreign_marks(new_domain(before).text)
    document = domain_of(text)
    apply(document, before, after)
    assert ordered(read_domain(document.text)) == ordered(after)
    gone = ["disk"] * len({disk.target for disk in before.disks} - {disk.target for disk in after.disks})
    gone += ["interface"] * len({nic.mac for nic in before.nics} - {nic.mac for nic in after.nics})
    left = marks(text)
    for mark in gone:
        left.remove(mark)
    assert marks(document.text) == left
    apply(document, after, before)
    assert ordered(read_domain(document.text)) == ordered(before)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_domain_is_what_a_new_one_would_be(edit: str) -> None:
    """But for the PCI ports: those that were there stay."""
    before, values = EDITS[edit]
    after = replace(before, **values)
    document = new_domain(before)
    apply(document, before, after)
    assert without_ports(document) == without_ports(new_domain(after))


def without_ports(document: documents.DomainElement) -> list[Any]:
    """Everything in a document whatever its order, but the PCI ports, SCSI controllers and emptied parents."""

    def flat(element: ElementTree.Element) -> Any:
        return (element.tag, tuple(sorted(element.items())), (element.text or "").strip(), sorted(map(flat, element)))

    controllers = (one for one in document.children(documents.ControllerElement, "devices"))
    for controller in controllers:
        if controller.model in ("pcie-root-port", "virtio-scsi"):
            document.remove(controller, "devices")
    metadata = document.element.find("metadata")
    if metadata is not None and len(metadata) == 0:
        document.element.remove(metadata)
    return sorted(flat(part) for part in document.element)


def test_no_difference_is_no_edit() -> None:
    for text in (golden("libvirt-stored.xml"), golden("foreign.xml")):
        document = domain_of(text)
        before = document.text
        config = read_domain(text)
        apply(document, config, config)
        assert document.text == before


def test_what_libvirt_made_of_a_definition_is_edited_without_loss() -> None:
    """A stored definition of libvirt's: addresses, aliases, defaults. Only the wanted places differ afterwards."""
    text = golden("libvirt-stored.xml")
    config = read_domain(text)
    document = domain_of(text)
    apply(document, config, replace(config, tpm=True, record=replace(config.record, group="x")))
    added, removed = difference(text, document.text)
    assert {line for line in added if "ablestack" not in line} == {
        '<tpm model="tpm-crb">',
        '<backend type="emulator" version="2.0" />',
        "</tpm>",
    }
    assert all("ablestack" in line for line in removed)


def difference(before: str, after: str) -> tuple[set[str], set[str]]:
    lines = []
    for text in (before, after):
        root = ElementTree.fromstring(text)
        ElementTree.indent(root)
        lines.append({line.strip() for line in ElementTree.tostring(root, encoding="unicode").splitlines()})
    return lines[1] - lines[0], lines[0] - lines[1]


def test_a_running_domain_shows_which_nics_libvirt_serves() -> None:
    live = read_live(golden("libvirt-running.xml"))
    assert live.nics == (
        NicConfig("52:54:00:00:00:01", "default", "virtio", leased=True),
        NicConfig("52:54:00:00:00:02", "lan", "e1000e", leased=False),
    )
    assert live.record == read_domain(golden("libvirt-stored.xml")).record
    assert (live.cpu, live.max_cpu, live.memory, live.max_memory) == (1, 2, 256, 1024)
    assert (live.boot_type, live.boot_mode) == ("uefi", "legacy")
    assert read_live(golden("libvirt-stored.xml")) is None


def test_a_running_domain_shows_whether_its_agent_is_connected() -> None:
    running = golden("libvirt-running.xml")
    connected = running.replace("state='disconnected'", "state='connected'")
    silent = running.replace(" state='disconnected'", "")
    assert [read_live(text).agent for text in (running, connected, silent)] == [False, True, False]


def test_a_running_domain_is_read_the_same_without_its_metadata_where_the_stored_one_is_known() -> None:
    text, stored = golden("libvirt-running.xml"), read_domain(golden("libvirt-stored.xml"))
    assert read_live(text, stored) == read_live(text)
    seeded = text.replace("</metadata>", f"<s:seed xmlns:s='{SEED_NAMESPACE}' written='2'/></metadata>")
    assert read_live(seeded, stored).seeds == 2


def test_what_libvirt_stored_is_what_was_defined() -> None:
    stored = read_domain(golden("libvirt-stored.xml"))
    assert (stored.cpu_mode, stored.boot_type, stored.boot_mode, stored.virt_type) == (
        "host-model",
        "uefi",
        "legacy",
        "qemu",
    )
    assert stored.disks == (DiskConfig("sdd", "", "cdrom", "scsi", "raw"),)
    assert all(nic.leased for nic in stored.nics)


def test_what_others_wrote_is_read_without_an_error() -> None:
    config = read_domain(golden("foreign.xml"))
    assert config.record is None
    assert (config.memory, config.cpu, config.max_cpu) == (1908, 2, 1)
    assert (config.boot_type, config.boot_mode, config.cpu_mode) == ("uefi", "secure", "Haswell")
    assert [(disk.target, disk.kind, disk.path) for disk in config.disks] == [
        ("vda", "disk", ""),
        ("sda", "lun", "/dev/sdz"),
        ("vdb", "disk", ""),
        ("fda", "floppy", ""),
    ]
    assert config.nics == (
        NicConfig("52:54:00:aa:bb:cc", "", "", leased=False),
        NicConfig("", "", "", leased=False),
    )
    container = read_live(golden("foreign-container.xml"))
    assert (container.record, container.id, container.virt_type, container.memory) == (None, "", "lxc", 500)


# Trees of elements that mean something in a domain, in places where they do not, with odd attributes.
TAGS = [
    "os",
    "type",
    "vcpu",
    "memory",
    "devices",
    "disk",
    "source",
    "target",
    "interface",
    "mac",
    "cpu",
    "model",
    "metadata",
    "iotune",
]
ATTRIBUTES = ["", " unit='x'", " type='y'", " current='-'", " dev=''"]
trees = st.recursive(
    st.just(""),
    lambda inner: (
        st.builds("<{0}{2}>{1}</{0}>".format, st.sampled_from(TAGS), inner, st.sampled_from(ATTRIBUTES))
        | st.lists(inner, max_size=4).map("".join)
    ),
    max_leaves=25,
)


@given(trees)
def test_no_shape_of_a_foreign_domain_is_an_error(content: str) -> None:
    text = f"<domain>{content}</domain>"
    assert read_domain(text).record is None
    assert read_live(text) is None


def test_a_count_of_seeds_that_cannot_be_read_counts_for_nothing() -> None:
    text = new_domain(replace(BASE, seeds=3)).text
    assert read_domain(text).seeds == 3
    assert read_domain(text.replace('written="3"', 'written="x"')) == replace(BASE, seeds=0)


def test_damaged_metadata_names_its_domain_and_text_that_is_no_xml_is_ours_to_explain() -> None:
    damaged = new_domain(BASE).text.replace('version="1"', 'version="x"')
    with pytest.raises(AblestackError, match="domain 'web1' is damaged"):
        read_domain(damaged)
    with pytest.raises(AblestackError) as raised:
        read_domain("<domain>")
    assert raised.value.code is Code.INTERNAL


def test_two_vms_of_one_name_never_share_nvram() -> None:
    other = vm_config(id="a" + ID[1:], boot_type="uefi")
    paths = {nvram_path(BASE), nvram_path(other), nvram_path(replace(other, boot_mode="secure"))}
    assert len(paths) == 3
    assert nvram_path(replace(other, domain_name="web1.destroyed-ae1f0e2c")) == nvram_path(other)
    assert domain_of(new_domain(other).text).nvram == nvram_path(other)


def test_the_translation_cache_follows_the_memory_in_software_emulation_only() -> None:
    def cache(**values: Any) -> int:
        return new_domain(vm_config(**values)).translation_cache

    assert (cache(memory=256), cache(memory=257, max_memory=257), cache(virt_type="kvm")) == (32, 128, 0)
    # a small one could be given out when a processor is plugged in, and QEMU would end
    assert (cache(cpu=1, max_cpu=2), cache(cpu=2, max_cpu=2)) == (0, 32)


def free_ports(document: documents.DomainElement) -> int:
    devices = document.element.find("devices")
    ports = sum(one.get("model") == "pcie-root-port" for one in devices.findall("controller"))
    taken = len(devices.findall("disk/target[@bus='virtio']")) + len(devices.findall("interface"))
    taken += (
        len(devices.findall("controller[@type='scsi']"))
        + len(devices.findall("rng"))
        + len(devices.findall("memballoon"))
    )
    return ports - taken - 1  # the channel's controller


@pytest.mark.parametrize("kind", KINDS)
def test_ports_for_hot_plug_are_always_there(kind: str) -> None:
    document = new_domain(KINDS[kind])
    assert free_ports(document) == SPARE_PORTS
    disks = tuple(DiskConfig(f"vd{letter}", f"/srv/{letter}.qcow2") for letter in "abcdefgh")
    config = replace(KINDS[kind], disks=disks)
    apply(document, KINDS[kind], config)
    assert free_ports(document) == SPARE_PORTS


def test_an_image_that_changes_takes_its_chain_with_it() -> None:
    document = new_domain(BASE)
    disk = next(iter(document.children(documents.DiskElement, "devices")))
    ElementTree.SubElement(ElementTree.SubElement(disk.element, "backingStore"), "source").set("file", "/old")
    apply(document, BASE, replace(BASE, disks=(replace(BASE.disks[0], max_iops=9), *BASE.disks[1:])))
    assert document.element.find("devices/disk/backingStore") is not None
    apply(document, BASE, replace(BASE, disks=(replace(BASE.disks[0], path="/new"), *BASE.disks[1:])))
    assert document.element.find("devices/disk/backingStore") is None


def test_memory_modules_are_not_counted_twice() -> None:
    before = vm_config(memory=1024, max_memory=4096)
    document = new_domain(before)
    module = ElementTree.SubElement(document.element.find("devices"), "memory", model="dimm")
    ElementTree.SubElement(ElementTree.SubElement(module, "target"), "size", unit="MiB").text = "512"
    apply(document, before, replace(before, cpu=2, max_cpu=2))
    assert (document.memory, document.numa_memory) == (4096, 512)
    assert read_domain(document.text).memory == 1024


def test_the_states_of_single_processors_do_not_overrule_the_count() -> None:
    before = vm_config(cpu=2, max_cpu=4)
    document = new_domain(before)
    states = ElementTree.SubElement(document.element, "vcpus")
    ElementTree.SubElement(states, "vcpu", id="0", enabled="yes")
    apply(document, before, replace(before, cpu=3))
    assert document.element.find("vcpus") is None


def declared() -> set[tuple[str, str]]:
    kinds = [kind for kind in vars(documents).values() if isinstance(kind, type) and issubclass(kind, Document)]
    return {(kind.__name__, name) for kind in kinds for name in vars(kind) if isinstance(vars(kind)[name], Field)}


def test_every_field_of_every_document_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A field that nothing reads or writes would never be missed when it is wrong."""
    used: set[tuple[str, str]] = set()

    def note(method: str) -> None:
        for kind in {Field, *all_below(Field)}:
            if method in vars(kind):
                original = vars(kind)[method]
                monkeypatch.setattr(kind, method, noting(original))

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(field: Any, document: Any, *rest: Any) -> Any:
            for kind in type(document).__mro__:
                used.update((kind.__name__, name) for name, value in vars(kind).items() if value is field)
            return original(field, document, *rest)

        return wrapped

    note("__get__")
    note("__set__")
    for config in KINDS.values():
        read_domain(new_domain(config).text)
    for before, values in EDITS.values():
        apply(new_domain(before), before, replace(before, **values))
    grown = vm_config(max_memory=1024)
    document = new_domain(grown)
    document.add(documents.MemoryElement(size=1), "devices")
    apply(document, grown, replace(grown, cpu=2, max_cpu=2))
    read_live(golden("libvirt-running.xml"))
    nvram_holder(grown, "secure")
    assert declared() - used == set()


def all_below(kind: type) -> set[type]:
    return {found for child in kind.__subclasses__() for found in {child, *all_below(child)}}


def test_a_drive_is_booted_from_only_while_a_disc_is_in_it() -> None:
    """Firmware that may boot from an empty drive looks for a disc for two seconds at every boot."""
    empty = vm_config()
    full = replace(empty, disks=tuple(replace(disk, path=disk.path or "/iso") for disk in empty.disks))

    def order(document: documents.DomainElement) -> list[str]:
        return [entry.device for entry in document.children(documents.BootElement, "os")]

    document = new_domain(empty)
    assert order(document) == ["hd"]
    apply(document, empty, full)
    assert order(document) == ["hd", "cdrom"]
    apply(document, full, empty)
    assert order(document) == ["hd"]


def test_a_disk_that_names_a_volume_is_known_by_that() -> None:
    disk = "<disk type='volume'><source pool='default' volume='vol-a.qcow2'/><target dev='vdb'/></disk>"
    (read,) = read_domain(f"<domain><name>x</name><devices>{disk}</devices></domain>").disks
    assert (read.path, read.source) == ("", "default/vol-a.qcow2")
    assert read.is_volume("default", "/pools/default/vol-a.qcow2")
    assert not read.is_volume("other", "/pools/other/vol-a.qcow2")
    assert not read.is_volume("default", "")


def test_such_a_disk_is_a_file_once_it_is_changed() -> None:
    domain = new_domain(vm_config())
    element = domain.children(documents.DiskElement, documents.DEVICES)[0]
    element.type, element.file, element.pool, element.volume = "volume", "", "default", "root.qcow2"
    before = read_domain(domain.text)
    disks = (replace(before.disks[0], path="/pools/default/other.qcow2", source=""), *before.disks[1:])
    apply(domain, before, replace(before, disks=disks))
    assert read_domain(domain.text).disks == disks
    assert (element.pool, element.volume) == ("", "")
