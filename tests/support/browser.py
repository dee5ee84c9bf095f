"""A real browser without a screen: a page opened in it, what it says, asks for and looks like."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

# Debian's Chromium and its driver. The flags keep it from talking to anybody by itself.
PROGRAM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
DESKTOP, PHONE = (1280, 900), (360, 740)

# The lowest contrast of any text that is shown, and what it is (WCAG 2.2: at least 4.5).
_CONTRAST = """
const rgb = text => { const c = text.match(/[\\d.]+/g).map(Number); return [...c.slice(0, 3), c[3] ?? 1]; };
const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
let worst = [99, ''];
for (const element of document.body.querySelectorAll('*')) {
  const text = [...element.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
  if (!text || !element.getClientRects().length) continue;
  let under = element;
  while (under && rgb(getComputedStyle(under).backgroundColor)[3] === 0) under = under.parentElement;
  const pair = [getComputedStyle(element).color, under ? getComputedStyle(under).backgroundColor : 'rgb(255,255,255)']
    .map(rgb).map(light).sort((a, b) => b - a);
  const ratio = (pair[0] + .05) / (pair[1] + .05);
  if (ratio < worst[0]) worst = [ratio, text];
}
return worst;
"""


class Page:
    """A page in the browser. Widths are in CSS pixels."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, file: Path, size: tuple[int, int] = DESKTOP, dark: bool = False) -> None:
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get(file.as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns, run as a function body in the page."""
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[str]:
        """The text of all elements that match, as the page has it, shown or not."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.replace(/\\s+/g, ' ').trim())",
            selector,
        )
        return found

    def style(self, selector: str, name: str) -> str:
        value: str = self.run(
            "return getComputedStyle(document.querySelector(arguments[0])).getPropertyValue(arguments[1])",
            selector,
            name,
        )
        return value

    @property
    def structure(self) -> list[str]:
        """The names of all elements, in order."""
        names: list[str] = self.run("return [...document.querySelectorAll('*')].map(e => e.tagName)")
        return names

    @property
    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width

    @property
    def contrast(self) -> tuple[float, str]:
        """The lowest contrast of any text, and that text."""
        ratio, text = self.run(_CONTRAST)
        return ratio, text

    def complaints(self) -> list[str]:
        """What the console says since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def picture(self, file: Path, height: int = 0) -> None:
        """The page as a PNG file, all of it or so much of its height."""
        height = height or self.run("return document.documentElement.scrollHeight")
        width = self.run("return innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser of its own, with its profile in the folder."""
    options = Options()
    options.binary_location = PROGRAM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        page = Page(driver)
        page.run("return 0")
        driver.get("about:blank")  # so that what the browser starts with is no part of what a page asks for
        page.complaints(), page.requests()
        yield page
    finally:
        driver.quit()
