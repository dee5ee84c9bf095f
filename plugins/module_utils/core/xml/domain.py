# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents of a domain: what of a definition we know, where it stands, and what of its text nobody reads.

domain_mapping.py has the policy.
"""

from __future__ import annotations

from .document import Document, ExactSize, Flag, Number, Size, Switch, Text

DEVICES = "devices"
"""Where the devices stand."""


class DiskElement(Document):
    tag = "disk"
    type = Text("@type", "file")
    device = Text("@device", "disk")
    driver = Text("driver@name")
    format = Text("driver@type", "raw")
    discard = Text("driver@discard")
    file = Text("source@file")
    block = Text("source@dev")
    pool = Text("source@pool")
    volume = Text("source@volume")
    target = Text("target@dev")
    bus = Text("target@bus")
    max_iops = Number("iotune/total_iops_sec")
    readonly = Flag("readonly")
    backing = Flag("backingStore")


class NicElement(Document):
    tag = "interface"
    type = Text("@type")
    mac = Text("mac@address")
    network = Text("source@network")
    model = Text("model@type")


class ControllerElement(Document):
    tag = "controller"
    type = Text("@type")
    index = Text("@index")
    model = Text("@model")


class TpmElement(Document):
    tag = "tpm"
    model = Text("@model")
    backend = Text("backend@type")
    version = Text("backend@version")


class ConsoleElement(Document):
    """A serial port or the console on it: both have this shape."""

    type = Text("@type")
    target_type = Text("target@type")
    port = Text("target@port")


class SerialElement(ConsoleElement):
    tag = "serial"


class PtyElement(ConsoleElement):
    tag = "console"


class ChannelElement(Document):
    tag = "channel"
    type = Text("@type")
    target_type = Text("target@type")
    name = Text("target@name")


class RngElement(Document):
    tag = "rng"
    model = Text("@model")
    backend_model = Text("backend@model")
    backend = Text("backend")


class BalloonElement(Document):
    tag = "memballoon"
    model = Text("@model")


class GraphicsElement(Document):
    tag = "graphics"
    type = Text("@type")
    autoport = Switch("@autoport")
    listen_type = Text("listen@type")
    address = Text("listen@address")


class VideoElement(Document):
    tag = "video"
    model = Text("model@type")
    memory = Text("model@vram")


class BootElement(Document):
    tag = "boot"
    device = Text("@dev")


class FeatureElement(Document):
    """A property the firmware must have, or must not."""

    tag = "feature"
    name = Text("@name")
    enabled = Text("@enabled")


class MemoryElement(Document):
    """Memory beside the boot memory: a module, or one that grows in blocks up to its size (virtio-mem)."""

    tag = "memory"
    model = Text("@model")
    size = Size("target/size")
    node = Text("target/node")
    block = Size("target/block")
    requested = ExactSize("target/requested")
    current = Size("target/current")


class DomainElement(Document):
    tag = "domain"
    type = Text("@type")
    running_id = Text("@id")
    name = Text("name")
    uuid = Text("uuid")
    memory = Size("memory")
    current_memory = Size("currentMemory")
    max_memory = Size("maxMemory")
    memory_slots = Number("maxMemory@slots")
    vcpus = Number("vcpu", 1)
    current_vcpus = Number("vcpu@current")
    vcpu_states = Flag("vcpus")
    arch = Text("os/type@arch")
    machine = Text("os/type@machine")
    os_type = Text("os/type")
    firmware = Text("os@firmware")
    secure_boot = Switch("os/firmware/feature[@name='secure-boot']@enabled")
    enrolled_keys = Switch("os/firmware/feature[@name='enrolled-keys']@enabled")
    firmware_features = Flag("os/firmware")
    loader = Text("os/loader")
    loader_type = Text("os/loader@type")
    loader_readonly = Switch("os/loader@readonly")
    loader_secure = Switch("os/loader@secure")
    nvram = Text("os/nvram")
    acpi = Flag("features/acpi")
    apic = Flag("features/apic")
    smm = Switch("features/smm@state", "on", "off")
    translation_cache = Size("features/tcg/tb-cache")
    cpu_mode = Text("cpu@mode")
    cpu_match = Text("cpu@match")
    cpu_model = Text("cpu/model")
    cpu_fallback = Text("cpu/model@fallback")
    numa_cell = Text("cpu/numa/cell@id")
    numa_cpus = Text("cpu/numa/cell@cpus")
    numa_memory = Size("cpu/numa/cell@memory")
    on_reboot = Text("on_reboot")
    on_crash = Text("on_crash")
    agent_state = Text("devices/channel/target[@name='org.qemu.guest_agent.0']@state")


# --- what need not be parsed to be read, which is half of what a listing costs

# Of definitions as libvirt writes them. What others gave it can look like an element within the metadata alone, for
# anywhere else it stands escaped.
_METADATA, _METADATA_END = "<metadata", "/metadata>"
_DEVICE = "\n    <"  # libvirt indents by two
_CONTROLLER, _CONTROLLER_END = f"{_DEVICE}controller ", "/controller>"


def without_metadata(text: str) -> str:
    """For where the record is known."""
    begin, end = text.find(_METADATA), text.rfind(_METADATA_END)
    return text[:begin] + text[end + len(_METADATA_END) :] if 0 <= begin < end else text


def without_controllers(text: str) -> str:
    """Nobody reads anything of them, and with their addresses those of a guest with free ports are half of it.

    They stand in one row; should anything else stand between them, all of it stays.
    """
    begin, last = text.find(_CONTROLLER, max(0, text.rfind(_METADATA_END))), text.rfind(_CONTROLLER)
    end = text.find(">", last) + 1
    if text[end - 2] != "/":
        end = text.find(_CONTROLLER_END, end) + len(_CONTROLLER_END)
    if not 0 <= begin <= last < end:
        return text
    row = text[begin:end]
    alone = row.count(_DEVICE) == row.count(_CONTROLLER) + row.count(_CONTROLLER_END)
    return text[:begin] + text[end:] if alone else text
