# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our metadata element: a VM's record in its domain's definition, a network's in the network's.

In a definition the element and all in it carry our namespace. virDomainSetMetadata puts it there by itself, and
refuses an element that has it already; so a record is made, and read, without it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from ..model.errors import AblestackError, Code
from ..model.resources import NetworkRecord
from ..model.vm import DiskRecord, Hold, Mark, NicRecord, Owner, Phase, VmRecord
from .document import AnyText, Document, DocumentError, Element, Names, Number, Pairs, Switch

PREFIX = "ablestack"
NAMESPACE = "https://ablestack.io/xmlns/kvm/1"
SEED_NAMESPACE = f"{NAMESPACE}/seed"
HOLD_PREFIX, HOLDS = "ablestack-hold", f"{NAMESPACE}/hold/"
_SEED = f"{{{SEED_NAMESPACE}}}seed"
VERSION = 1
"""The schema we write. Older ones are read; a newer one may mean things we would lose, so it is refused."""


class _Ours(Document):
    strict = True


class OwnerElement(_Ours):
    tag = "owner"
    machine = AnyText("@machine")
    pid = Number("@pid")
    started = Number("@started")
    token = AnyText("@token")


class HoldElement(OwnerElement):
    tag = "hold"
    since = AnyText("@since")
    volumes = AnyText("@volumes")


class SeedElement(Document):
    tag = "seed"
    written = Number("@written")


class MarkElement(_Ours):
    tag = "mark"
    phase = AnyText("@phase")
    since = AnyText("@since")
    expunge_at = AnyText("@expunge-at")
    delete_data_disks = Names("delete@disk")
    runs = Switch("@runs")
    source = AnyText("@source")
    target = AnyText("@target")
    copies = Names("copy@disk")


class DiskRecordElement(_Ours):
    tag = "disk"
    name = AnyText("@name")
    role = AnyText("@role")
    device = Number("@device")
    target = AnyText("@target")
    pool = AnyText("@pool")
    volume = AnyText("@volume")
    size = Number("@size")
    offering = AnyText("@offering")
    min_iops = Number("@min-iops")
    own_limits = Switch("@own-limits")


class NicRecordElement(_Ours):
    tag = "nic"
    mac = AnyText("@mac")
    network = AnyText("@network")
    ip = AnyText("@ip")


class RecordElement(_Ours):
    tag = "vm"
    name = AnyText("@name")
    display_name = AnyText("@display-name")
    group = AnyText("@group")
    labels = Pairs("label@name", "value")
    template = AnyText("@template")
    template_checksum = AnyText("@template-checksum")
    iso = AnyText("@iso")
    clone = AnyText("@clone")
    compute_offering = AnyText("@compute-offering")
    dynamic_scaling = Switch("@dynamic-scaling")
    scaling_chosen = Switch("@scaling-chosen")
    affinity_groups = Names("affinity-group@name")
    ssh_key_pairs = Names("ssh-key-pair@name")
    keys_digest = AnyText("@keys-digest")
    key_pairs_digest = AnyText("@key-pairs-digest")
    public_keys_digest = AnyText("@public-keys-digest")
    user_data_digest = AnyText("@user-data-digest")
    protected = Switch("@protected")
    autostart = Switch("@autostart")
    created = AnyText("@created")
    snapshots = Names("snapshot@name")
    quiesced = Names("quiesced@snapshot")
    boot_left = Names("boot-left@of")


class NetworkRecordElement(_Ours):
    tag = "network"
    type = AnyText("@type")
    created = AnyText("@created")
    autostart = Switch("@autostart")
    cidr = AnyText("@cidr")
    gateway = AnyText("@gateway")
    dns_servers = Names("dns-server@address")
    labels = Pairs("label@name", "value")


class Versioned(_Ours):
    """What every element of ours begins with; read before anything else of it is."""

    version = Number("@version")


def record_element(record: VmRecord) -> Element:
    """The record without a namespace, as virDomainSetMetadata wants it."""
    root = RecordElement(**{name: getattr(record, name) for name in RecordElement.fields()})
    Versioned(root.element).version = VERSION
    if record.mark != Mark():
        names = MarkElement.fields()
        mark = MarkElement(**{name: getattr(record.mark, name) for name in names if name != "phase"})
        mark.phase = record.mark.phase.value
        if record.mark.owner is not None:
            mark.add(OwnerElement(**vars(record.mark.owner)))
        root.add(mark)
    for disk in record.disks:
        root.add(DiskRecordElement(**vars(disk)))
    for nic in record.nics:
        root.add(NicRecordElement(**vars(nic)))
    return root.element


def put_record(document: Document, record: VmRecord | None) -> None:
    """Replaces our element in a definition; what others keep in its metadata stays."""
    _drop(document, RecordElement.tag)
    if record is not None:
        _add(document, record_element(record))


def read_record(document: Document, subject: str) -> VmRecord | None:
    """The record in a definition, None where there is none of ours.

    `subject` names its owner in errors: Unsupported for a newer schema, InvalidState for a damaged record.
    """
    element = _ours(document, RecordElement.tag, subject)
    if element is None:
        return None
    try:
        return _record(RecordElement(element))
    except ValueError as error:  # DocumentError is one
        raise _damaged(subject, str(error)) from None


def hold_namespace(token: str) -> str:
    """Each process that works on a VM has an element of its own there, so that none writes over another's."""
    return f"{HOLDS}{token}"


def hold_element(hold: Hold) -> Element:
    """What is noted of a process at work, without a namespace."""
    return HoldElement(since=hold.since, volumes=" ".join(hold.volumes), **vars(hold.owner)).element


def read_holds(document: Document) -> tuple[Hold, ...]:
    """Who has noted in a definition that he works on it; what cannot be read counts for nothing."""
    found = []
    for element in document.element.findall("metadata/*"):
        if isinstance(element.tag, str) and element.tag.startswith(f"{{{HOLDS}"):
            bare = Element(HoldElement.tag, dict(element.attrib))
            with suppress(DocumentError):
                values = HoldElement(bare).values()
                since, volumes = values.pop("since"), values.pop("volumes")
                found.append(Hold(Owner(**values), since, tuple(volumes.split())))
    return tuple(found)


def drop_holds(document: Document) -> None:
    """As if nobody worked on it."""
    for element in document.element.findall("metadata/*"):
        if isinstance(element.tag, str) and element.tag.startswith(f"{{{HOLDS}"):
            document.remove(Document(element), "metadata")


def put_seeds(document: Document, count: int) -> None:
    """How often the seed was written while the VM ran. Beside the record, which both definitions of a running VM have:
    this is in the stored one alone until it starts.
    """
    for element in document.element.findall(f"metadata/{_SEED}"):
        document.remove(Document(element), "metadata")
    if count:
        element = SeedElement(written=count).element
        element.tag = _SEED
        document.add(_Ours(element), "metadata")


def read_seeds(document: Document) -> int:
    """The same; what cannot be read counts for nothing."""
    found = document.element.find(f"metadata/{_SEED}")
    return SeedElement(Element(SeedElement.tag, dict(found.attrib))).written if found is not None else 0


def tells_of_seeds(text: str) -> bool:
    """Whether a definition may have such a count."""
    return SEED_NAMESPACE in text


def put_network_record(document: Document, record: NetworkRecord | None) -> None:
    """Replaces our element in a network's definition; what others keep in its metadata stays."""
    _drop(document, NetworkRecordElement.tag)
    if record is not None:
        root = NetworkRecordElement(**{name: getattr(record, name) for name in NetworkRecordElement.fields()})
        Versioned(root.element).version = VERSION
        _add(document, root.element)


def read_network_record(document: Document, subject: str) -> NetworkRecord | None:
    """Our element in a network's definition, None where there is none; errors as of `read_record`."""
    element = _ours(document, NetworkRecordElement.tag, subject)
    if element is None:
        return None
    try:
        return NetworkRecord(**NetworkRecordElement(element).values())
    except ValueError as error:
        raise _damaged(subject, str(error)) from None


def _record(root: RecordElement) -> VmRecord:
    record = VmRecord(
        **root.values(),
        disks=tuple(DiskRecord(**disk.values()) for disk in root.children(DiskRecordElement)),
        nics=tuple(NicRecord(**nic.values()) for nic in root.children(NicRecordElement)),
    )
    if not record.name:
        raise DocumentError("the name is missing")
    marks = root.children(MarkElement)
    if not marks:
        return record
    values = marks[0].values()
    owners = marks[0].children(OwnerElement)
    owner = Owner(**owners[0].values()) if owners else None
    return replace(record, mark=Mark(**{**values, "phase": Phase(values["phase"]), "owner": owner}))


def _qualified(tag: str) -> str:
    return f"{{{NAMESPACE}}}{tag}"


def _add(document: Document, element: Element) -> None:
    for part in element.iter():
        part.tag = _qualified(part.tag)
    document.add(_Ours(element), "metadata")


def _drop(document: Document, tag: str) -> None:
    for element in document.element.findall(f"metadata/{_qualified(tag)}"):
        document.remove(Document(element), "metadata")


def _ours(document: Document, tag: str, subject: str) -> Element | None:
    """A copy of our element without its namespace, once its schema is one that we know."""
    found = document.element.find(f"metadata/{_qualified(tag)}")
    if found is None:
        return None
    element = _bare(found)
    try:
        version = Versioned(element).version
    except DocumentError as error:
        raise _damaged(subject, str(error)) from None
    if version < 1:
        raise _damaged(subject, "the version is missing")
    if version > VERSION:
        raise AblestackError(
            Code.UNSUPPORTED,
            f"{subject} was written by a newer release of ablestack.kvm (schema {version}, this one knows {VERSION})",
            "update the collection",
        )
    return element


def _bare(element: Element) -> Element:
    """A copy without namespaces and comments; deepcopy would cost as much as all the rest of a reading."""
    copy = Element(element.tag.rpartition("}")[2], element.attrib)
    copy.text = element.text
    copy.extend([_bare(part) for part in element if isinstance(part.tag, str)])
    return copy


def _damaged(subject: str, why: str) -> AblestackError:
    return AblestackError(
        Code.INVALID_STATE,
        f"the ablestack.kvm metadata of {subject} is damaged: {why}",
        "repair the ablestack element in its definition, or remove it to make it unmanaged",
    )
