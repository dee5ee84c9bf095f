# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys the host a VM is on, as far as a change of the VM needs it."""

from __future__ import annotations

from dataclasses import replace

from ..hypervisor.port import Host
from ..model.catalog import Catalog
from ..model.errors import AblestackError, Code
from ..model.resources import HostFacts, NetworkFacts, PoolFacts, Template
from ..model.values import altered
from ..model.vm import Phase, VmFacts
from ..model.vm_spec import NicSpec, VmSpec
from ..plan.change import Needs, needs_of
from ..plan.nics import keep_addresses
from ..plan.offering import pool_of_disk
from ..plan.request import Site, VmRequest
from .infrastructure import Infrastructure
from .survey import (
    check_boot,
    data_volumes,
    find_image,
    find_network,
    taken_addresses,
    with_addresses_chosen,
    with_segment,
)

_STATES = ("present", "started", "stopped", "restarted", "reinstalled")


def with_home(infra: Infrastructure, request: VmRequest) -> VmRequest:
    """The request with what its change needs of the VM's host, where it is a change and needs anything."""
    vm = request.existing
    if vm is None or vm.record is None or vm.phase is Phase.DEPLOYING or request.spec.state not in _STATES:
        return request
    if request.spec.networks:
        nics = keep_addresses(request.spec.networks, vm.record.nics)
        request = altered(request, spec=altered(request.spec, networks=nics))
    needs = needs_of(request, vm)
    if not needs:
        return request
    home = survey_home(infra, infra.host(vm.host.name), request.spec, vm, needs)
    home = with_segment(infra, request.spec, home, vm.id)
    return replace(request, spec=with_addresses_chosen(infra, request.spec, home), home=home)


def survey_home(infra: Infrastructure, host: Host, spec: VmSpec, vm: VmFacts, needs: Needs) -> Site:
    """Only what `needs` names is read. Raises where it is not there, or not fit."""
    nothing = PoolFacts(host.spec.pool, "", "", "", 0, 0)
    facts = host.abilities() if needs.firmware else HostFacts(host.spec, 0, 0)
    template, template_path = _template(host, needs.template), ""
    if needs.root_pool:
        template, template_path = find_image(host, needs.template, "template")
    if needs.firmware:
        check_boot(host.spec, facts, spec, template)
    iso, iso_path = find_image(host, needs.iso, "ISO")
    pools = _pools(host, needs, infra.catalog)
    site = Site(
        host=facts,
        pool=pools.get(needs.root_pool or host.spec.pool, nothing),
        template=template,
        template_path=template_path,
        iso=iso,
        iso_path=iso_path,
        pools=pools,
        snapshots=host.snapshots(vm.id) if needs.snapshots else (),
        own={f"{pool}/{name}": volume for pool, name in needs.own if (volume := host.volume(pool, name))},
    )
    if needs.networks:
        networks = {name: _network(host, name, spec.networks or (), vm) for name in needs.networks}
        there = {name: found for name, found in networks.items() if found}
        site = replace(site, networks=there, addresses_taken=taken_addresses(host, spec, there, vm))
    if needs.disks:
        site = replace(site, **data_volumes(infra, host, needs.disks, vm))
    return site


def _pools(host: Host, needs: Needs, catalog: Catalog) -> dict[str, PoolFacts]:
    names = {pool_of_disk(disk, catalog) or host.spec.pool: None for disk in needs.disks}
    if needs.root_pool:
        names[needs.root_pool] = None
    return {name: host.pool(name) for name in names}


def _template(host: Host, name: str) -> Template | None:
    """What the VM was made from, where that is still there: only then it can forbid another firmware."""
    if not name:
        return None
    from .template_lookup import find_template

    copy = find_template(host, name)
    return copy.template if copy.ready else None


def _network(host: Host, name: str, wanted: tuple[NicSpec, ...], vm: VmFacts) -> NetworkFacts | None:
    """A wanted network has to be there; one that only a NIC that goes is on may be gone itself."""
    try:
        return find_network(host, name, vm, wanted)
    except AblestackError as error:
        if error.code in (Code.NOT_FOUND, Code.INVALID_STATE) and name not in {nic.network for nic in wanted}:
            return None
        raise
