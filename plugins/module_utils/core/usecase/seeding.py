# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's cloud-init seed on its host: written, written anew, and what the guest's console gives away of it."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace

from ..hypervisor.port import Host
from ..model.errors import AblestackError, Code
from ..model.resources import VolumeSpec
from ..model.seed_content import SeedContent
from ..model.vm import VmFacts
from ..plan.steps import WriteSeed

WITHHELD = "(withheld: it has words of user_data in it)"
UNKNOWN = "(withheld: the VM's seed, and so what is secret in it, cannot be read)"
_LEAST = 4
"""Letters of a word that counts. Shorter ones are in too much else."""
_ENDS = (re.compile(r"\s+"), re.compile(r"[\s\"'`=:,;|&<>(){}\[\]$\\@/]+"), re.compile(r"\W+"))
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")


def write_seed(host: Host, step: WriteSeed) -> None:
    """A new VM's seed is made; an old one is replaced by way of a spare, for nothing else remembers its user data.

    A running guest keeps the old seed open until it next starts. Where this is killed when the old one is gone, `start`
    finds the spare.
    """
    from ..seed.seed import build_seed

    if not step.keep:
        _make(host, step.pool, step.volume, build_seed(step.content))
        return
    spare = _spare(step.volume)
    if host.volume(step.pool, step.volume) is None:
        _take_over(host, step.pool, step.volume)  # a spare that is all there is must not be deleted for a new one
    old = _sorted_keys(_present(host, step.pool, (spare, step.volume)), step.pair_keys)
    kept = {nic.mac: nic for nic in old.nics if nic.mac in step.keep_nics}
    content = replace(step.content, nics=tuple(kept.get(nic.mac, nic) for nic in step.content.nics))
    image = build_seed(replace(content, **{name: getattr(old, name) for name in step.keep}))
    host.delete_volume(step.pool, spare)
    _make(host, step.pool, spare, image)
    _replace(host, step.pool, step.volume, image)


def start(host: Host, vm_id: str) -> None:
    """Starts the VM; one that cannot start because a process was killed while it wrote the seed anew gets it first."""
    try:
        host.start(vm_id)
    except AblestackError:
        if not _restored(host, vm_id):
            raise
        host.start(vm_id)


def _restored(host: Host, vm_id: str) -> bool:
    """Whether the seed was missing, its spare was there, and is the seed now."""
    ref = host.domain(vm_id)
    vm = host.vm(ref) if ref else None
    seed = vm.record.disk("seed") if vm and vm.record else None
    return bool(seed and not host.volume(seed.pool, seed.volume) and _take_over(host, seed.pool, seed.volume))


def _take_over(host: Host, pool: str, volume: str) -> bool:
    """Makes the spare the seed, which is gone; false where there is no spare, or only a part of one."""
    if host.volume(pool, _spare(volume)) is None:
        return False
    image = b"".join(host.download(pool, _spare(volume)))
    if _whole(image) is None:
        return False
    _replace(host, pool, volume, image)
    return True


def _spare(volume: str) -> str:
    return f"{volume}.new"


def _replace(host: Host, pool: str, volume: str, image: bytes) -> None:
    """Puts the spare, which is this image, in the seed's place: in one call, so that nothing starts with half of it."""
    host.delete_volume(pool, volume)
    host.clone_volume(VolumeSpec(pool, volume, len(image), "raw", fat=True), f"{pool}/{_spare(volume)}")
    host.delete_volume(pool, _spare(volume))


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
    for volume in volumes:
        if host.volume(pool, volume) is None:
            continue
        image = b"".join(host.download(pool, volume))
        content = _read(image) if volume == volumes[-1] else _whole(image)
        if content:
            return content
    raise AblestackError(
        Code.INVALID_STATE,
        f"the cloud-init seed '{volumes[-1]}' in pool '{pool}' is gone or damaged",
        "give both user_data and the SSH keys in one task, so that nothing has to be kept from it",
    )


def _read(image: bytes) -> SeedContent | None:
    from ..seed.seed import read_seed

    try:
        return read_seed(image)
    except AblestackError:
        return None


def _whole(image: bytes) -> SeedContent | None:
    from ..seed.seed import build_seed

    content = _read(image)
    return content if content and image.startswith(build_seed(content)) else None


def told_of_console(host: Host, vm: VmFacts, lines: tuple[str, ...]) -> tuple[str, ...]:
    """The lines, without those that have a word of the VM's user data in them, whichever task gave it."""
    seed = vm.record.disk("seed") if vm.record else None
    if not lines or seed is None:
        return lines
    try:
        words = _words(_user_data(host, seed.pool, seed.volume))
    except AblestackError:
        return (UNKNOWN,)
    shown = [WITHHELD if _shares(line, words) else line for line in lines]
    # of a word that was being printed when we began to listen, or stopped, only a part may be there
    if any(lines[0].casefold().startswith(word[at:]) for word in words for at in range(1, len(word) - _LEAST + 1)):
        shown[0] = WITHHELD
    if any(lines[-1].casefold().endswith(word[:to]) for word in words for to in range(_LEAST, len(word))):
        shown[-1] = WITHHELD
    return tuple(line for at, line in enumerate(shown) if line != WITHHELD or shown[at - 1 : at] != [WITHHELD])


def _user_data(host: Host, pool: str, volume: str) -> str:
    from ..seed.seed import read_seed

    return read_seed(b"".join(host.download(pool, volume))).user_data


def _shares(line: str, words: frozenset[str]) -> bool:
    printed = line.casefold()
    return any(word in printed for word in words)


def _words(text: str) -> frozenset[str]:
    """Whatever a line may quote: words as spaces part them, as shells and YAML do, and those of files in base64."""
    found = (word for one in (text, *_decoded(text)) for ends in _ENDS for word in ends.split(one.casefold()))
    return frozenset(word for word in found if len(word) >= _LEAST)


def _decoded(text: str) -> Iterator[str]:
    for word in _BASE64.findall(text):
        try:
            yield b64decode(word, validate=True).decode()
        except ValueError:
            continue
