"""A headless Chromium, driven over the WebDriver protocol."""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

ARGUMENTS = [
    *("headless", "no-sandbox", "disable-gpu", "no-first-run", "window-size=1600,1000"),
    # It looks for nothing but the page.
    *("disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"),
]

PATIENCE = 300
"""Seconds that a page may take for an answer, on a machine that others use too."""


def installed() -> bool:
    """Whether this machine has the browser and its driver; where all has to be tested, it must."""
    found = bool(shutil.which("chromedriver") and shutil.which("chromium"))
    if not found and "WHOLE" in os.environ:
        raise RuntimeError("WHOLE tests need chromium and chromedriver: apt-get install chromium chromium-driver")
    return found


class Browser:
    """One window."""

    def __init__(self, driver: str):
        self._driver = driver
        options = {"args": [f"--{a}" for a in ARGUMENTS], "binary": shutil.which("chromium")}
        always = {"goog:chromeOptions": options, "timeouts": {"script": 1000 * PATIENCE, "pageLoad": 1000 * PATIENCE}}
        wanted = {"capabilities": {"alwaysMatch": always}}
        self._session = f"/session/{self._call('POST', '/session', wanted)['sessionId']}"

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._driver + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)["value"]

    def open(self, address: str) -> None:
        """Goes to a page; what its scripts load comes later."""
        self._call("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str) -> Any:
        """What a script returns in the page."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    @contextmanager
    def frame(self, selector: str) -> Iterator[None]:
        """Scripts run in a frame of the page as long as the context lasts."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        self._call("POST", f"{self._session}/frame", {"id": found})
        try:
            yield
        finally:
            self._call("POST", f"{self._session}/frame", {"id": None})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """What a command of the DevTools protocol answers."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        """Gives the page another size; a phone's is narrower than a window can be."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, scheme: str) -> None:
        """Makes the page light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", features=features)

    def screenshot(self) -> bytes:
        """The window as PNG."""
        return base64.b64decode(self._call("GET", f"{self._session}/screenshot"))

    def close(self) -> None:
        """Ends the browser."""
        self._call("DELETE", self._session)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser as long as the context lasts."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    driver = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with suppress(urllib.error.URLError), urllib.request.urlopen(f"{driver}/status", timeout=5):
                break
            time.sleep(0.1)
        window = Browser(driver)
        try:
            yield window
        finally:
            window.close()
    finally:
        process.terminate()
        process.wait()
