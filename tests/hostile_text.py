"""Text that would break a page which does not escape it."""

from __future__ import annotations

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<b>bold</b> &amp; `tick` | pipe **stars** \u2028 ]]> <!--"
)
