"""What the backends of transformers have in common: where they run, and requests that wait."""

from __future__ import annotations

from collections.abc import Callable

from peval.engines.wire import Message
from peval.errors import EngineError
from peval.types import Adapter, EngineSpec, Request


class HfQueue:
    """Requests in the order of their arrival, for a backend to answer in steps of its own.

    ``tick`` is called often, as one batch can take minutes.
    """

    def __init__(self, spec: EngineSpec, tick: Callable[[], None]) -> None:
        import torch

        if spec.options:
            raise EngineError(f"the hf engine has no engine arguments; got {sorted(spec.options)}")
        self._spec = spec
        self._tick = tick
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._waiting: list[Request] = []

    def _greeting(self, dtype: str, window: int, refused: dict[str, str]) -> Message:
        """Return what a backend says of itself when it is ready."""
        import transformers

        return {
            "engine": "hf",
            "version": transformers.__version__,
            "device": self._device,
            "dtype": dtype,
            "max_model_len": self._spec.max_model_len,
            "window": window,
            "refused": refused,
        }

    def adopt(self, adapters: tuple[Adapter, ...]) -> None:
        """Refuse: transformers is started anew for other adapters (`peval.engines.room`)."""
        raise EngineError(f"the hf engine takes no adapters while it lives; got {len(adapters)}")

    def submit(self, request: Request) -> None:
        """Queue a request."""
        self._waiting.append(request)

    def has_work(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._waiting)

    def close(self) -> None:
        """Do nothing: the process ends next."""

    def _forget(self, answered: list[Request]) -> None:
        """Take requests out of the queue."""
        keys = {request.key for request in answered}
        self._waiting = [request for request in self._waiting if request.key not in keys]
