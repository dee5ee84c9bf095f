# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates on real libvirt: byte for byte, safe from interruption and from each other, and independent."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import pytest
from lab_tests.lab import Lab
from lab_tests.runs import Run

HERE = Path(__file__).resolve().parent
POOL = "/srv/default"


class Tasks:
    """Runs tasks of ablestack_template, many in one playbook, since a playbook takes longer to start than a task."""

    def __init__(self, run_playbook: Callable[..., Run], catalog: dict[str, Any]) -> None:
        self.run_playbook = run_playbook
        self.catalog = catalog

    def all(self, *tasks: dict[str, Any], module: str = "ablestack_template") -> list[dict[str, Any]]:
        """The result of each task, failed or not; with `check` among its options it runs in check mode."""
        plays = [
            {
                "name": str(number),
                "check_mode": options.pop("check", False),
                f"ablestack.kvm.{options.pop('module', module)}": {"catalog": self.catalog, **options},
                "diff": True,
                "ignore_errors": True,
            }
            for number, options in enumerate(map(dict, tasks))
        ]
        run = self.run_playbook([{"hosts": "localhost", "gather_facts": False, "tasks": plays}])
        return [task.result for task in run.tasks]

    def done(self, **options: Any) -> dict[str, Any]:
        """One task that succeeds."""
        (result,) = self.all(options)
        assert not result.get("failed"), result
        return result

    def thrice(self, **options: Any) -> dict[str, Any]:
        """Check mode predicts the run to the letter, and a second run changes nothing."""
        predicted, done, again = self.all({**options, "check": True}, options, options)
        assert predicted["changed"] is done["changed"] is True, done
        assert predicted["diff"] == done["diff"]
        assert again["changed"] is False, again
        assert again["template"] == done["template"]
        return done


@pytest.fixture(scope="module")
def catalog(clean_lab: Lab) -> dict[str, Any]:
    return clean_lab.catalog(2, compute_offerings={"tiny": {"cpu": 1, "memory": 96}})


@pytest.fixture(scope="module")
def tasks(run_playbook: Callable[..., Run], catalog: dict[str, Any]) -> Tasks:
    return Tasks(run_playbook, catalog)


@pytest.fixture
def site(clean_lab: Lab) -> Iterator[Lab]:
    """The lab, on which every test leaves nothing of its own behind."""
    yield clean_lab
    left = [files(clean_lab, host) for host in ("h1", "h2")]
    clean_lab.wipe()
    assert left == [{}, {}]


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def files(site: Lab, host: str = "h1", folder: str = POOL) -> dict[str, str]:
    """The files of a pool, and who may read them."""
    listing = site.host(host, "find", folder, "-maxdepth", "1", "-type", "f", "-printf", r"%f %m\n").stdout
    return dict(line.rsplit(" ", 1) for line in listing.splitlines())


def content_of(site: Lab, volume: str, host: str = "h1", folder: str = POOL) -> str:
    return "sha256:" + site.host(host, "sha256sum", f"{folder}/{volume}").stdout.split()[0]


def image_info(site: Lab, volume: str, host: str = "h1") -> dict[str, Any]:
    return dict(json.loads(site.host(host, "qemu-img", "info", "--output=json", f"{POOL}/{volume}").stdout))


def test_a_file_goes_to_all_hosts_byte_for_byte_and_stays_while_it_is_used(site: Lab, tasks: Tasks) -> None:
    done = tasks.thrice(name="tiny", src=str(site.tiny), display_text="Tiny", labels={"a": "b"})
    shown = done["template"]
    assert (shown["state"], shown["hosts"], shown["format"]) == ("Ready", ["h1", "h2"], "qcow2")
    assert shown["checksum"] == digest(site.tiny.read_bytes())
    size = image_info(site, "tmpl-tiny.qcow2")["virtual-size"]
    assert shown["size_gib"] == pytest.approx(size / 1024**3, abs=0.001)
    for host in ("h1", "h2"):
        assert content_of(site, "tmpl-tiny.qcow2", host) == shown["checksum"]
        assert files(site, host) == {"tmpl-tiny.qcow2": "600", "tmpl-tiny.json": "600"}
        with closing(site.connect(host)) as connection:
            volume = connection.storagePoolLookupByName("default").storageVolLookupByName("tmpl-tiny.qcow2")
            assert "<format type='qcow2'/>" in volume.XMLDesc()
            assert volume.info()[1] == size

    changed = tasks.thrice(name="tiny", display_text="Very tiny", featured=True)
    assert changed["template"]["display_text"] == "Very tiny"
    assert content_of(site, "tmpl-tiny.qcow2") == shown["checksum"]

    absent = {"name": "tiny", "state": "absent"}
    with closing(site.connect("h2")) as connection:
        overlay = connection.storagePoolLookupByName("default").createXML(
            "<volume><name>somebody.qcow2</name><capacity>1073741824</capacity><target><format type='qcow2'/></target>"
            f"<backingStore><path>{POOL}/tmpl-tiny.qcow2</path><format type='qcow2'/></backingStore></volume>"
        )
        before = [files(site, host) for host in ("h1", "h2")]
        for refused in tasks.all({**absent, "check": True}, {**absent, "forced": True}, absent):
            assert refused["error"]["code"] == "InUse"
            assert "default/somebody.qcow2" in refused["msg"]
        assert [files(site, host) for host in ("h1", "h2")] == before
        overlay.delete()
    assert tasks.thrice(**absent)["template"] == {}


def test_raw_disks_and_isos(site: Lab, tasks: Tasks, tmp_path: Path) -> None:
    raw, iso = tmp_path / "disk.raw", tmp_path / "disc.iso"
    raw.write_bytes(b"boot".ljust(3 * 1024 * 1024 + 512, b"\1"))
    iso.write_bytes(bytes(0x8000) + b"\x01CD001\x01".ljust(1024 * 1024, b"\2"))
    for path in (raw, iso):
        done = tasks.thrice(name=path.stem, src=str(path), hosts=["h1"], format=path.suffix[1:])
        assert done["template"]["checksum"] == digest(path.read_bytes())
        assert content_of(site, f"tmpl-{path.name}") == done["template"]["checksum"]
    removed = tasks.all(*({"name": path.stem, "state": "absent"} for path in (raw, iso)))
    assert [each["changed"] for each in removed] == [True, True]


def test_bad_input_leaves_nothing(site: Lab, tasks: Tasks, tmp_path: Path) -> None:
    image = str(site.tiny)
    backed = tmp_path / "backed.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", str(backed)], check=True)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("ChecksumMismatch", {"src": image, "checksum": digest(b"something else")}),
        ("InvalidInput", {"src": image, "format": "raw"}),
        ("InvalidInput", {"src": image, "checksum": "sha256:abc"}),
        ("InvalidInput", {"src": "/does/not/exist"}),
        ("InvalidInput", {"src": str(tmp_path)}),
        ("InvalidInput", {"src": str(backed)}),
        ("InvalidInput", {"src": image, "name": "../outside"}),
        ("InvalidInput", {"src": image, "url": "http://127.0.0.1/x"}),
        ("NotFound", {}),
    ]
    results = tasks.all(*({"name": "bad", **options} for _code, options in cases))
    for (code, _options), refused in zip(cases, results):
        assert (refused["error"]["code"], refused["changed"]) == (code, False), refused["msg"]
        assert "\n" not in refused["msg"]


@pytest.fixture
def small_pool(site: Lab) -> Iterator[str]:
    """The path of a pool of 8 MiB on h1, named small."""
    path = "/srv/small"
    site.host("h1", "sh", "-c", f"mkdir -p {path} && mount -t tmpfs -o size=8m tmpfs {path}")
    with closing(site.connect()) as connection:
        pool = connection.storagePoolDefineXML(
            f"<pool type='dir'><name>small</name><target><path>{path}</path></target></pool>"
        )
        pool.create()
        yield path
        pool.destroy()
        pool.undefine()
    site.host("h1", "umount", path)


def test_a_full_pool(site: Lab, small_pool: str, tasks: Tasks, catalog: dict[str, Any], tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(b"boot".ljust(6 * 1024 * 1024, b"\1"))
    one = {"hosts": [{**catalog["hosts"][0], "template_pool": "small"}]}
    options = {"catalog": one, "name": "large", "src": str(image), "format": "raw"}
    with closing(site.connect()) as connection:
        pool = connection.storagePoolLookupByName("small")
        pool.refresh()
        site.host("h1", "dd", "if=/dev/zero", f"of={small_pool}/other", "bs=1M", "count=4")
        # at first libvirt does not know that it is full
        for _known in (False, True):
            (refused,) = tasks.all(options)
            assert refused["error"]["code"] == "InsufficientCapacity", refused["msg"]
            assert set(files(site, folder=small_pool)) == {"other"}
            pool.refresh()
        site.host("h1", "rm", f"{small_pool}/other")
        pool.refresh()
    made, removed = tasks.all(options, {"catalog": one, "name": "large", "state": "absent"})
    assert made["changed"] is removed["changed"] is True


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which a web server shows it."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download(site: Lab, tasks: Tasks, web: tuple[Path, str]) -> None:
    folder, address = web
    content = site.tiny.read_bytes()
    (folder / "tiny.qcow2").write_bytes(content)
    sha512 = f"sha512:{hashlib.sha512(content).hexdigest()}"
    options = {"name": "web", "url": f"{address}/tiny.qcow2", "checksum": sha512}
    predicted, done = tasks.all({**options, "check": True}, options)
    assert predicted["changed"] is done["changed"] is True
    assert (done["template"]["checksum"], done["template"]["hosts"]) == (digest(content), ["h1", "h2"])
    (folder / "tiny.qcow2").unlink()
    again, missing, removed = tasks.all(
        options, {"name": "other", "url": f"{address}/tiny.qcow2"}, {"name": "web", "state": "absent"}
    )
    assert (again["changed"], removed["changed"]) == (False, True)
    assert (missing["error"]["code"], "404" in missing["msg"]) == ("NotFound", True)


def test_a_vm_becomes_a_template_that_outlives_it(site: Lab, tasks: Tasks, tmp_path: Path) -> None:
    vm = {"module": "ablestack_vm", "name": "builder"}
    deploy = {"template": "base", "compute_offering": "tiny", "networks": ["default"], "start": False, "wait": "none"}
    base, golden = {"name": "base", "state": "absent"}, {"name": "golden", "vm": "builder"}
    made, deployed, refused, predicted, done, again, expunged, removed = tasks.all(
        {"name": "base", "src": str(site.tiny), "hosts": ["h1"]},
        {**vm, **deploy, "host": "h1"},
        base,
        {**golden, "check": True},
        golden,
        golden,
        {**vm, "state": "expunged"},
        base,
    )
    assert deployed["vm"]["state"] == "Stopped", deployed
    assert refused["error"]["code"] == "InUse"
    assert [each["changed"] for each in (made, predicted, done, again, expunged, removed)] == [
        True,
        True,
        True,
        False,
        True,
        True,
    ]
    assert done["template"]["hosts"] == ["h1", "h2"]
    for host in ("h1", "h2"):
        assert content_of(site, "tmpl-golden.qcow2", host) == done["template"]["checksum"]
        assert "backing-filename" not in image_info(site, "tmpl-golden.qcow2", host)
        assert files(site, host) == {"tmpl-golden.qcow2": "600", "tmpl-golden.json": "600"}

    dest = tmp_path / "golden.qcow2"
    fetch = {"name": "golden", "state": "extracted", "dest": str(dest)}
    *fetched, removed = tasks.all({**fetch, "check": True}, fetch, fetch, {"name": "golden", "state": "absent"})
    assert [each["changed"] for each in (*fetched, removed)] == [True, True, False, True]
    assert digest(dest.read_bytes()) == done["template"]["checksum"]
    same = subprocess.run(["qemu-img", "compare", "-q", str(dest), str(site.tiny)], check=False)
    assert same.returncode == 0  # it was never started, so its disk is the template's


def test_the_list_of_templates(site: Lab, tasks: Tasks, catalog: dict[str, Any]) -> None:
    site.host("h2", "sh", "-c", f"head -c 100000 /dev/zero > {POOL}/tmpl-half.qcow2")
    with closing(site.connect("h2")) as connection:
        connection.storagePoolLookupByName("default").refresh()
    down = {"name": "h9", "uri": "qemu+unix:///system?socket=/nowhere"}
    made, listed, *removed = tasks.all(
        {"name": "one", "src": str(site.tiny), "hosts": ["h1"]},
        {"module": "ablestack_template_info", "catalog": {"hosts": [*catalog["hosts"], down]}},
        {"name": "half", "state": "absent"},
        {"name": "one", "state": "absent"},
    )
    rows = {row["name"]: (row["state"], row["hosts"]) for row in listed["templates"]}
    assert rows == {"one": ("Ready", ["h1"]), "half": ("NotReady", [])}
    assert list(listed["unreachable_hosts"]) == ["h9"]
    assert [each["changed"] for each in (made, listed, *removed)] == [True, False, True, True]


# What no module run can be made to do at the right moment: processes of our own, killed or racing.


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """An image that takes a while to copy."""
    path = tmp_path / "large.raw"
    with path.open("wb") as file:
        for number in range(200):
            file.write(bytes([number]) * 1024 * 1024)
    return path


def start(rows: list[dict[str, Any]], folder: Path, /, **options: Any) -> subprocess.Popen[bytes]:
    """A process that does what ablestack_template does."""
    job = folder / f"job-{time.monotonic_ns()}"
    job.write_text(json.dumps({"catalog": {"hosts": rows}, "options": options}), encoding="utf-8")
    words = [sys.executable, str(HERE / "template_job.py"), str(job)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_copy_that_is_killed_is_copied_again(site: Lab, catalog: dict[str, Any], tasks: Tasks, large: Path) -> None:
    options = {"name": "large", "src": str(large), "format": "raw", "hosts": ["h1"]}
    own = site.run / "h1"
    for begun in ("tmpl-large.json", "tmpl-large.raw"):
        process = start(catalog["hosts"], large.parent, **options)
        while process.poll() is None:
            # the pool's folder as this machine sees it: looking through the namespace takes too long
            if begun in {path.name for path in (own / "default").iterdir()}:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert begun in files(site)
    found, done, again, removed = tasks.all(
        {**options, "check": True}, options, options, {"name": "large", "state": "absent"}
    )
    assert found["diff"]["before"]["state"] == "NotReady"
    assert (done["template"]["state"], done["template"]["checksum"]) == ("Ready", digest(large.read_bytes()))
    assert (again["changed"], removed["changed"]) == (False, True)


def test_two_at_once_make_one_copy(site: Lab, catalog: dict[str, Any], large: Path) -> None:
    """On one host, and on two hosts that share a pool and do not know of each other."""
    first, second = catalog["hosts"]
    shared = [{**host, "template_pool": "shared"} for host in (first, second)]
    for hosts, folder in (([first, first], POOL), (shared, "/srv/shared")):
        options = {"name": "both", "src": str(large), "format": "raw"}
        processes = [start([host], large.parent, **options) for host in hosts]
        answers = [process.communicate(timeout=600) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], answers
        results = [json.loads(out) for out, _err in answers]
        assert [result["template"]["state"] for result in results] == ["Ready", "Ready"]
        assert sum(result["uploads"] for result in results) == 1
        assert content_of(site, "tmpl-both.raw", folder=folder) == digest(large.read_bytes())
        gone = [start([host], large.parent, name="both", state="absent") for host in hosts]
        answers = [process.communicate(timeout=600) for process in gone]
        assert [process.returncode for process in gone] == [0, 0], answers
        assert files(site, folder=folder) == {}
