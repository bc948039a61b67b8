"""Pictures of the live page: light, dark, and on a phone."""

from pathlib import Path

from launch.browser import chromium
from launch.demo import QUESTION, SOFT_THINKING
from sglang_soft.view.access import PATH

SHOTS = {
    "page-light": ("light", 1280, 860),
    "page-dark": ("dark", 1280, 860),
    "page-phone": ("light", 360, 780),
}
"""Colour scheme, width and height by name."""


def screenshots(out_dir: Path, server_url: str) -> list[Path]:
    """page-light.png, page-dark.png and page-phone.png. server_url: of a server with --soft-view.

    Raises:
        RuntimeError: there is no browser.
    """
    made = []
    with chromium() as browser:
        for name, (scheme, width, height) in SHOTS.items():
            size = {"width": width, "height": height}
            page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=2)
            page.goto(server_url + PATH)
            page.locator("html[data-ready]").wait_for(state="attached")
            page.locator("#parameters input").first.wait_for(state="attached")
            page.locator("#question-input").fill(QUESTION)
            page.locator("#ask summary").click()
            for key, value in SOFT_THINKING["bundled"].items():
                page.locator(f"#p-{key}").fill(str(value))
            page.locator("#ask summary").click()
            page.locator("#go").click()
            page.locator("#status", has_text="Done").wait_for()
            page.get_by_role("listbox").focus()
            page.keyboard.press("n")
            if name == "page-phone":  # the thought, not the form above it
                page.locator("#thought-title").evaluate("e => e.scrollIntoView()")
            page.locator("#answer0", has_text="Answer").wait_for()
            page.mouse.move(0, 0)
            page.wait_for_timeout(500)  # the chart's last frame
            made.append(Path(out_dir) / f"{name}.png")
            page.screenshot(path=made[-1])
            page.close()
    return made
