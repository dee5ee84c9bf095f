# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Sphinx makes HTML of the documents and of the reference; ./dev docs builds it."""

from __future__ import annotations

project = "ablestack.kvm"
author = "ABLESTACK contributors"
html_title = "ablestack.kvm"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
include_patterns = [
    "index.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/**.md",
    "extensions/molecule/README.md",
    "roles/*/README.md",
    "tests/lab/README.md",
    "reference/*.rst",
]
exclude_patterns = ["docs/site/**"]
default_role = "any"
# `#anchors` of headings, as GitHub makes them
myst_heading_anchors = 4
# Ansible's own pages are not looked up: a build needs no network. What is left are references of attributes to them.
suppress_warnings = ["ref.ref"]
nitpick_ignore_regex = [("envvar", "ANSIBLE_.*")]

html_theme = "furo"
antsibull_ext_color_scheme = "default-autodark"
html_show_sphinx = False
html_copy_source = False
html_static_path: list[str] = []
pygments_style = "ansible"
pygments_dark_style = "github-dark"
highlight_language = "YAML+Jinja"
