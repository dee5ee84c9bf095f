# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A template that goes right before a VM is defined takes the deploy with it, and leaves nothing of that behind."""

from __future__ import annotations

import pytest

from ansible_collections.ablestack.kvm.plugins.module_utils.core.model.errors import AblestackError, Code
from support.operations import IMAGE, OTHER, WEB, prepared_site
from support.site_audit import audit, essence
from support.tasks import Task, template, vm

DEPLOY = vm(**{**WEB, "data_disks": [], "template": "t"})


@pytest.mark.parametrize("rival", [template("t", state="absent"), template("t", src=OTHER, forced=True)])
def test_a_deploy_whose_template_goes_in_the_last_moment_is_taken_back(rival: Task) -> None:
    world = prepared_site(1, (template("t", src=IMAGE),), False)
    alone = prepared_site(1, (template("t", src=IMAGE), rival), False)
    controller = world.controller()
    controller.hosts["kvm01"].act_at("define", lambda: rival.run(world.controller()))
    with pytest.raises(AblestackError, match="template 't' on host 'kvm01' was deleted or replaced") as refused:
        DEPLOY.run(controller)
    assert refused.value.code is Code.CONFLICT
    audit(world)
    assert essence(world) == essence(alone)
