# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents the options of one VM, in the order of the deploy wizard."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  name:
    description:
      - Name of the VM, which is also its host name at the first boot.
      - 1 to 63 letters, digits and V(-), beginning with a letter and not ending in V(-). Case tells no names apart.
      - Unique among the VMs of all hosts of the catalog that are not destroyed.
      - O(name) or O(id) is required.
    type: str
  id:
    description:
      - UUID of an existing VM. Tells destroyed VMs of one name apart.
      - It means that VM and no other, even where another has its name by now. No VM is deployed by it. O(name) beside
        it has to be that VM's name.
    type: str
  state:
    description:
      - V(present), the VM exists. One that is missing is deployed (and started, see O(start)), which needs O(template)
        or O(iso); the power of an existing one is left alone.
      - V(started), it exists and runs. Pending changes are applied by the start.
      - V(stopped), it exists and is off. A running guest is asked to shut down, see O(timeout), O(forced) and
        O(force_after_timeout).
      - V(restarted), it has been rebooted by its guest, or reset with O(forced=true). A stopped VM is started. This
        changes something every time.
      - V(reinstalled), its root disk has been made anew from the template or ISO image it was deployed from, or from
        O(template) or O(iso). Data disks, NICs and addresses stay, and it runs if it ran before. A VM that is missing
        is not deployed by that. This changes something every time.
      - V(destroyed), it is off and its name is free. It can be recovered until it is expunged.
      - V(absent), the same as V(destroyed).
      - V(recovered), a destroyed VM is there again, stopped. A VM that is there already is left alone.
      - V(expunged), no VM of that name is left in any state. This deletes its root disk and its VM snapshots.
    type: str
    default: present
    choices: [present, started, stopped, restarted, reinstalled, destroyed, recovered, expunged, absent]
  zone:
    description: Zone to place a new VM in. Chosen automatically when left out.
    type: str
  pod:
    description: Pod to place a new VM in. Chosen automatically when left out.
    type: str
  cluster:
    description: Cluster to place a new VM in. Chosen automatically when left out.
    type: str
  host:
    description:
      - Host of the catalog to place a new VM on, or to start a stopped one on.
      - A host that does not suit is an error, never a silent choice of another one.
      - Chosen automatically when left out.
    type: str
  template:
    description:
      - Template to deploy from.
      - Mutually exclusive with O(iso).
    type: str
  iso:
    description:
      - ISO image to install from, on an empty root disk. Needs O(root_disk_size) or O(root_disk_offering).
      - Mutually exclusive with O(template).
    type: str
  root_disk_size:
    description:
      - Size of the root disk, in GiB or with a unit, for example V(20) or V(512MiB).
      - At least the size of the template, which is also the default. Disks only grow.
    type: str
  root_disk_offering:
    description:
      - Disk offering for the root disk. A fixed size of the offering wins over O(root_disk_size).
    type: str
  clone:
    description:
      - V(linked), the root disk is an overlay on the template's image, made at once.
      - V(full), it is an independent copy.
      - It counts when the disk is made, at a deploy and at a reinstall. A VM that exists keeps the disk that it has.
    type: str
    default: linked
    choices: [linked, full]
  compute_offering:
    description:
      - Compute offering of the catalog. A custom one needs O(cpu) and O(memory) too.
      - A new VM needs either this, or O(cpu) and O(memory).
      - When O(cpu) and O(memory) are both given without this, the VM keeps its offering if they lie within its bounds,
        and has none otherwise.
    type: str
  cpu:
    description:
      - Number of virtual CPUs.
      - With a fixed O(compute_offering) whose maximum is larger, and dynamic scaling, any number up to that.
    type: int
  memory:
    description: Memory in MiB or with a unit, for example V(2048) or V(2GiB). The bounds are as those of O(cpu).
    type: str
  data_disks:
    description:
      - All data disks of the VM. A new one is empty and not formatted.
      - A disk that exists already and is free is attached with its content.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the disk, unique in its storage pool. It stays the disk's name when it moves to another VM.
        type: str
        required: true
      disk_offering:
        description: Disk offering. A custom one needs O(data_disks[].size), a fixed one refuses it.
        type: str
      size:
        description: Size in GiB or with a unit. Disks only grow.
        type: str
      min_iops:
        description: Input and output operations per second to reckon with. V(0) for none.
        type: int
      max_iops:
        description:
          - Limit of input and output operations per second. V(0) for no limit.
          - Given beside a disk offering it replaces the offering's, for as long as the disk has that offering.
        type: int
      pool:
        description: Storage pool for a new disk. The default is the offering's, then the host's.
        type: str
      device:
        description: Device id, from 1 on without 3, which is the CD drive's. The default is the lowest free one.
        type: int
  networks:
    description:
      - The networks of the VM, one NIC for each, in this order. The first one is the default NIC.
      - Each is the name of a network, or a dictionary with V(name), V(ip) (a fixed address), V(mac) and V(model)
        (V(virtio), V(e1000), V(e1000e), V(rtl8139), V(vmxnet3), V(ne2k_pci) or V(pcnet)).
      - V(e1000), V(rtl8139) and V(vmxnet3) are added to a running VM only if it was started with one of them; else that
        needs a restart.
      - On a network without an address range of its own, V(ip) has its prefix length too, for example V(10.0.0.5/24).
      - A fixed address is set in the guest by cloud-init. On isolated and routed networks of
        M(ablestack.kvm.ablestack_network) it is handed out by DHCP instead, and has the VM's name in the network's DNS.
      - With V(auto) as the V(ip), the lowest address of such a network that is neither reserved nor leased becomes the
        fixed one of a new NIC. A NIC that has a fixed address keeps it.
      - A MAC address is generated when left out, and kept for the life of the VM.
    type: list
    elements: raw
  ssh_key_pairs:
    description: SSH key pairs of the catalog whose public keys the guest's default user gets at the first boot.
    type: list
    elements: str
  ssh_public_keys:
    description: Further public keys for the guest's default user, each on one line.
    type: list
    elements: str
  boot_type:
    description: Firmware. The default is the template's, and V(bios) for an ISO image.
    type: str
    choices: [bios, uefi]
  boot_mode:
    description: Whether the firmware checks signatures. V(secure) needs UEFI. The default is the template's.
    type: str
    choices: [legacy, secure]
  tpm:
    description: Whether the VM has an emulated TPM 2.0.
    type: bool
  dynamic_scaling:
    description:
      - Whether CPU and memory may grow while the VM runs, up to the maxima of its offering. The guest needs a driver
        for virtio-mem.
      - The default is the offering's. A value that differs from it is kept until this is given again.
    type: bool
  user_data:
    description:
      - User data for cloud-init, as C(#cloud-config), a script, or any other form it knows. At most 32 KiB.
      - It reaches the guest as it is. It is never returned, shown or logged.
      - Cloud-init applies it at the first boot only; a change is kept on the seed image for guests that read it again.
    type: str
  affinity_groups:
    description: Affinity groups of the catalog, which placement follows.
    type: list
    elements: str
  display_name:
    description: A name for people. The default is O(name).
    type: str
  group:
    description: A group to find VMs by.
    type: str
  labels:
    description: Labels to find VMs by. Values become texts.
    type: dict
  start:
    description: Whether a VM is started after it is deployed. Has no effect on a VM that exists.
    type: bool
    default: true
  autostart:
    description: Whether its host starts the VM when it boots.
    type: bool
  protected:
    description: Whether destroying, expunging and reinstalling the VM is refused. Change it first to do so.
    type: bool
  attached_iso:
    description:
      - ISO image in the CD drive. An empty text ejects it.
      - A drive that the guest has locked, because it is mounted there, opens with O(forced=true) alone.
    type: str
  forced:
    description:
      - Cut the power instead of asking the guest to shut down, and press reset instead of asking it to reboot.
      - With O(state=stopped), a VM that is off gives up the memory that its host has saved (libvirt's managed save).
    type: bool
    default: false
  timeout:
    description:
      - How many seconds the guest has to shut down or reboot when asked to.
      - The default is C(stop_timeout) of the catalog's settings.
      - When they are over the task fails and the guest runs on, unless O(force_after_timeout=true).
    type: int
  force_after_timeout:
    description: Cut the power, or press reset, when O(timeout) is over.
    type: bool
    default: false
  allow_restart:
    description:
      - Whether a change that a running VM cannot take may stop and start it. Without, such a change is refused.
    type: bool
    default: false
  delete_data_disks:
    description:
      - Which data disks are deleted when the VM is expunged, V(none), V(all), or a list of disk names.
      - With O(state=destroyed) it is written down for the time of the expunge.
    type: raw
    default: none
  expunge_delay:
    description: Seconds from destroying the VM until it is due to be expunged. The default is the catalog's.
    type: int
  wait:
    description:
      - What to wait for when the VM was started.
      - V(none), nothing. V(running), it runs. V(agent), its guest agent answers. V(ip), its default NIC has an address.
        V(ssh), its SSH port answers. V(cloud_init), cloud-init in it has finished.
    type: str
    default: running
    choices: [none, running, agent, ip, ssh, cloud_init]
  wait_timeout:
    description: How many seconds to wait for that.
    type: int
    default: 300
"""
