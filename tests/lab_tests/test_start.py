"""Ten minutes to a VM: the lab's part of docs/start.md, word for word, twice, and then the command that it prints.

And the demo, started after it in the same lab.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from lab_tests.lab import SCRIPTS, Lab, command

from support.documents import Block, Document

ROOT = Path(__file__).parents[2]
START = ROOT / "docs" / "start.md"
FILE = "lab-vm.yml"


def lab_blocks() -> list[Block]:
    """The blocks of the section about the lab, but for the first: the clone is here, and the demo has its own check."""
    document = Document.at(START)
    sections = {heading.title: heading.line for heading in document.headings if heading.level == 2}
    begin = next(line for title, line in sections.items() if title.startswith("In the lab"))
    end = min(line for line in sections.values() if line > begin)
    return [block for block in document.blocks if begin < block.line < end][1:]


def test_the_lab_part_of_the_start_page_runs_as_it_is_written(clean_lab: Lab, record_property: Any) -> None:
    up, playbook, run, shown, guide = lab_blocks()
    assert [block.language for block in (up, playbook, run, shown, guide)] == ["sh", "yaml", "sh", "text", "sh"]
    catalog, shell = guide.text.rstrip().rsplit("\n", 1)
    assert shell == "./dev shell"
    listing = f"{catalog}\n{shell} ansible localhost -m ablestack.kvm.ablestack_vm_info"
    assert f"`{FILE}`" in "\n".join(START.read_text(encoding="utf-8").splitlines())
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTEST_"))}
    environment.update(ABLESTACK_LAB=str(clean_lab.folder), ANSIBLE_NOCOLOR="1")
    file = ROOT / FILE
    file.write_text(playbook.text, encoding="utf-8")
    begin = time.monotonic()
    try:
        script = f"set -e\n{up.text}{run.text}echo '--- again'\n{run.text}echo '--- guide'\n{listing}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    finally:
        file.unlink()
        (ROOT / "catalog.yml").unlink(missing_ok=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first, rest = done.stdout.split("--- again")
    again, listed = rest.split("--- guide")
    assert re.search(r"changed=2 ", first)
    assert re.search(r"changed=0 ", again)
    assert re.search(r"name: web1\b", listed)
    [login] = set(re.findall(r"(ssh -F \S+ \S+@[\w.]+)", done.stdout))
    reached = subprocess.run([*login.split(), "hostname"], capture_output=True, text=True, timeout=60, check=False)
    seconds = round(time.monotonic() - begin)
    assert reached.stdout.strip() == "web1", reached.stderr
    record_property("seconds to the first command by SSH, a second run included", seconds)
    print(f"start.md: {seconds} s to the first command by SSH, a second run included")


def test_the_demo_leaves_a_lab_with_vms_alone(clean_lab: Lab) -> None:
    clean_lab.wipe("h1")
    with closing(clean_lab.connect()) as connection:
        connection.defineXML(command(str(SCRIPTS / "tinyvm.sh"), "web1", "/srv/default/none.qcow2").stdout)
        refused = command(str(ROOT / "dev"), "demo", check=False, ABLESTACK_LAB=str(clean_lab.folder))
        assert refused.returncode == 1
        assert "has VMs already: web1" in refused.stderr
        assert "./dev down" in refused.stderr
        assert connection.lookupByName("web1").isPersistent()
        assert [pool.numOfVolumes() for pool in connection.listAllStoragePools()] == [0, 0, 0]
