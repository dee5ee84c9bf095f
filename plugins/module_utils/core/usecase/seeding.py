# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a VM's cloud-init seed to its host, and writes it anew when its content changes."""

from __future__ import annotations

from dataclasses import replace

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.resources import VolumeSpec
from ..model.seed_content import SeedContent
from ..plan.steps import WriteSeed


def write_seed(host: Host, step: WriteSeed) -> None:
    """A new VM's seed is made; an old one is replaced by way of a spare, for nothing else remembers its user data.

    A running guest keeps the old seed open until it next starts.
    """
    from ..seed.seed import build_seed

    if not step.keep:
        _make(host, step.pool, step.volume, build_seed(step.content))
        return
    spare = f"{step.volume}.new"
    old = _sorted_keys(_present(host, step.pool, (spare, step.volume)), step.pair_keys)
    kept = {nic.mac: nic for nic in old.nics if nic.mac in step.keep_nics}
    content = replace(step.content, nics=tuple(kept.get(nic.mac, nic) for nic in step.content.nics))
    image = build_seed(replace(content, **{name: getattr(old, name) for name in step.keep}))
    for volume in (spare, step.volume):
        host.delete_volume(step.pool, volume)
        _make(host, step.pool, volume, image)
    host.delete_volume(step.pool, spare)


def _sorted_keys(content: SeedContent, pair_keys: tuple[str, ...]) -> SeedContent:
    """An old seed does not say which of its keys are those of key pairs; the catalog does."""
    if content.pair_keys is not None:
        return content
    keys = content.public_keys
    return replace(
        content,
        pair_keys=tuple(key for key in keys if key in pair_keys),
        public_keys=tuple(key for key in keys if key not in pair_keys),
    )


def _make(host: Host, pool: str, volume: str, image: bytes) -> None:
    host.create_volume(VolumeSpec(pool, volume, len(image), "raw"))
    host.upload(pool, volume, [image])


def _present(host: Host, pool: str, volumes: tuple[str, ...]) -> SeedContent:
    """The content of the first of the volumes that is whole: building it again must give the same bytes."""
    from ..seed.seed import build_seed, read_seed

    for volume in volumes:
        if host.volume(pool, volume) is None:
            continue
        image = b"".join(host.download(pool, volume))
        try:
            content = read_seed(image)
        except AblestackError:
            continue
        if volume == volumes[-1] or image.startswith(build_seed(content)):
            return content
    raise AblestackError(
        Code.INVALID_STATE,
        f"the cloud-init seed '{volumes[-1]}' in pool '{pool}' is gone or damaged",
        "give both user_data and the SSH keys in one task, so that nothing has to be kept from it",
    )
