"""A real browser for tests: one tab of the Chromium that is installed here, without a window, driven by Playwright."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Browser:
    """One tab. ``problems`` holds every error that a page has told: exceptions, failed loads, refused content; ``loads`` the
    addresses that were asked for."""

    def __init__(self) -> None:
        if CHROMIUM is None:
            raise ValueError("no chromium, chromium-browser, google-chrome or chrome on the PATH; install one")
        self.problems: list[str] = []
        self.loads: list[str] = []
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
            self.page = self._browser.new_page()
            self._device = self.page.context.new_cdp_session(self.page)
        except Error:
            self._playwright.stop()
            raise
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
        self.page.on("requestfailed", lambda request: self.problems.append(f"{request.failure} {request.url}"))
        self.page.on("request", lambda request: self.loads.append(request.url))

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    def size(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The window's inside in CSS pixels, and the preferred colours."""
        self.page.set_viewport_size({"width": width, "height": height})
        # A narrow window is a phone's, which reads the page's own word on its width; Playwright can say so of new windows only.
        telephone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        self._device.send("Emulation.setDeviceMetricsOverride", telephone)
        self.page.emulate_media(media="screen", color_scheme="dark" if dark else "light")

    def open(self, address: str) -> None:
        """Go to a page and wait for its load event."""
        self.page.goto(address)

    def value(self, script: str) -> Any:
        """A JavaScript expression's value; a promise is awaited."""
        return self.page.evaluate(script)

    def wait(self, script: str, seconds: float = 30) -> None:
        """Until the expression is true. Playwright's own waiting is refused by the page, which lets no text be evaluated in it."""
        end = time.monotonic() + seconds
        while not self.value(script):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {seconds} s: {script}; the page says: {self.page.inner_text('body')[:600]}")
            self.page.wait_for_timeout(100)

    def shot(self, path: Path, whole: bool = True) -> None:
        """Save what is seen, or the ``whole`` page, as PNG."""
        self.page.screenshot(path=path, full_page=whole)
