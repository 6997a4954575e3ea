"""A real browser, where there is one: what a page says of itself once it is shown."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def shown(page: str, driver: str, path: Path, width: int) -> Any:
    """Return what a driver wrote as JSON into ``<pre id=said>``.

    The page is shown without its policy, so that escaping alone has to hold.
    """
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    path.write_text(free.replace("</head>", f"<script>{driver}</script></head>"), encoding="utf-8")
    dom = subprocess.run(
        [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900",
         "--virtual-time-budget=5000", f"--user-data-dir={path.parent / 'profile'}", "--dump-dom",
         path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    found = re.search(r'<pre id="said">(.*?)</pre>', dom, flags=re.S)
    assert found is not None, dom[-2000:]
    text = found[1]
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", "\u00a0"), ("&amp;", "&")):
        text = text.replace(entity, character)
    return json.loads(text)
