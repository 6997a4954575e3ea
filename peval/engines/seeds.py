"""Where the draws of one request begin: a matter of the request alone, never of its batch."""

from __future__ import annotations

import hashlib

from peval.types import Request


def first_seed(request: Request) -> int:
    """Return the seed of a request's first draw; draw i has this seed plus i, as in vLLM.

    A single draw has the seed that was asked for. Of several, the seeds depend on the prompt too:
    else all prompts would share their noise, and seeds 0 and 1 all draws but one.
    """
    decoding = request.decoding
    if decoding.n == 1:
        return decoding.seed
    said = f"{decoding.seed}:{','.join(map(str, request.prompt_token_ids))}"
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:6], "big")
