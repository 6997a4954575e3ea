from __future__ import annotations

from peval.engines import wire
from peval.engines.seeds import first_seed
from peval.types import Completion, Decoding, Drawn, Likelihood, Request

HOW = Decoding(8, 0.8, ("\n",), 3, top_p=0.95, n=2, top_k=40)
ASKED = Request("k", "task", "s", None, (1, 2), HOW)


def test_requests_and_completions_cross_unchanged() -> None:
    crossed = wire.read_request(wire.decode(wire.encode(wire.request_message(ASKED))))
    assert crossed == ASKED
    likelihoods = (Likelihood((-0.5, -1e-30), True),)
    said = Completion("k", "ü", (4, 5), "stop", None, likelihoods, (Drawn("x", (6,), "length"),))
    message = wire.decode(wire.encode(wire.completion_message(said)))
    assert wire.read_completion(message) == said


def test_seeds_of_several_draws_depend_on_seed_and_prompt() -> None:
    seeds = {
        first_seed(Request("k", "t", "s", None, prompt, Decoding(8, 0.8, (), seed, n=20)))
        for prompt in ((1, 2), (1, 3), (12,))
        for seed in (0, 1)
    }
    assert len(seeds) == 6
    assert max(seeds) < 2**48
    assert first_seed(Request("k", "t", "s", None, (1,), Decoding(8, 0.8, (), 7))) == 7
