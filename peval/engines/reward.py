"""A reward model as a judge: a sequence classifier with one output, whose number is the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from peval.errors import JudgeError
from peval.types import Completion, Message, Request


class RewardEngine:
    """Gives each question with its answer a number, in this process, one by one.

    A call's turns are the conversation up to the answer, as they are. Models without a chat
    template get all before the answer as the first text of a pair.
    """

    def __init__(self, path: Path, turns: Mapping[str, tuple[Message, ...]]) -> None:
        self._path = path
        self._turns = turns
        self._loaded: tuple[Any, Any] | None = None

    def launch(self) -> None:
        """Load the model.

        Raises
        ------
        JudgeError
            It cannot be loaded, lacks weights, or has more than one output.
        """
        if self._loaded is not None:
            return
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # the terminal is that of the judging's own progress
        try:
            tokenizer = AutoTokenizer.from_pretrained(self._path)
            model, told = AutoModelForSequenceClassification.from_pretrained(
                self._path, output_loading_info=True
            )
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split()).partition(". ")[0][:200]
            raise JudgeError(
                f"reward model {self._path}: cannot be loaded ({reason}); give --model a "
                "sequence classifier that transformers loads"
            ) from error
        if missing := sorted(told["missing_keys"]):  # transformers draws them at random
            raise JudgeError(
                f"reward model {self._path}: has no head for a reward ({missing[0]} is missing)"
            )
        if model.config.num_labels != 1:
            raise JudgeError(
                f"reward model {self._path}: has {model.config.num_labels} outputs, not one"
            )
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._loaded = tokenizer, model.to(device).eval()

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one number per distinct key; a text that is too long is not cut but fails."""
        import torch

        self.launch()
        assert self._loaded is not None
        tokenizer, model = self._loaded
        longest = getattr(model.config, "max_position_embeddings", None)
        for key in dict.fromkeys(request.key for request in requests):
            ids = self._ids(tokenizer, self._turns[key])
            if ids.shape[1] > (longest or ids.shape[1]):
                yield Completion(key, "", (), "error", "cut off: longer than the model reads")
                continue
            with torch.inference_mode():
                value = float(model(input_ids=ids.to(model.device)).logits[0, 0])
            yield Completion(key, repr(value), (), "stop")

    def close(self) -> None:
        """Let go of the model."""
        self._loaded = None

    def _ids(self, tokenizer: Any, turns: tuple[Message, ...]) -> Any:
        if tokenizer.chat_template:
            talk = [{"role": turn.role, "content": turn.content} for turn in turns]
            return tokenizer.apply_chat_template(talk, return_tensors="pt", return_dict=True)[
                "input_ids"
            ]
        *asked, answer = (turn.content for turn in turns)
        return tokenizer("\n\n".join(asked), answer, return_tensors="pt")["input_ids"]
