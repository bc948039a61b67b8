"""Sampler: SGLang's own sampling, with a soft step in front of it for the rows that think."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from sglang.srt.layers.logprob_processor import OutputLogprobProcessor
from sglang.srt.layers.sampler import Sampler

from sglang_soft.plan import ForwardPlan
from sglang_soft.step import ConceptStep, concept_step


def after_create_sampler(sampler: Sampler, *args, **kwargs) -> Sampler:
    """Replace SGLang's own sampler; one that a hardware plugin brought is not known to us and is
    refused."""
    if type(sampler) is not Sampler:
        raise SystemExit(f"sglang-soft does not support the sampler {type(sampler).__name__}")
    return SoftSampler()


class _Outcome:
    step: ConceptStep


class _LogprobsOfEmitted(OutputLogprobProcessor):
    """Output logprobs of the token that was emitted, not of the one that SGLang's sampler drew for
    the row."""

    def __init__(self, sampler: "SoftSampler") -> None:
        super().__init__()
        self._sampler = sampler

    def compute_logprobs(
        self, logprobs, top_logprobs_nums, token_ids_logprobs, batch_next_token_ids
    ):
        self._sampler.merge(batch_next_token_ids)
        return super().compute_logprobs(
            logprobs, top_logprobs_nums, token_ids_logprobs, batch_next_token_ids
        )


class SoftSampler(Sampler):
    """`Sampler` whose rows in the thinking phase emit concept tokens.

    The soft step reads the logits after penalties, bias, grammar masks and custom processors, and
    before SGLang's sampling overwrites them. SGLang then samples the rows as usual; thinking rows
    get their own token in place of the drawn one, before logprobs are looked up and before ids are
    synchronised across ranks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.output_logprob_processor = _LogprobsOfEmitted(self)
        self._plan: ForwardPlan | None = None
        self._hidden: torch.Tensor | None = None
        self._step: ConceptStep | None = None

    @contextmanager
    def stepping(self, plan: ForwardPlan, hidden: torch.Tensor | None) -> Iterator[_Outcome]:
        """Within this context the next call of the sampler is a soft step. hidden: [B, H], where a
        method reads it."""
        outcome = _Outcome()
        self._plan, self._hidden, self._step = plan, hidden, None
        try:
            yield outcome
            assert self._step is not None, "the sampler did not run"
            outcome.step = self._step
        finally:
            self._plan = self._hidden = self._step = None

    def forward(self, *args, **kwargs) -> torch.Tensor:
        tokens = super().forward(*args, **kwargs)
        if self._plan is not None and self._step is not None:
            self._step.advance(self._plan, tokens)
        return tokens

    def _preprocess_logits(self, logits: torch.Tensor, sampling_info) -> torch.Tensor:
        logits = super()._preprocess_logits(logits, sampling_info)
        if self._plan is not None and self._step is None:
            self._step = concept_step(self._plan, logits, self._hidden)
        return logits

    def _sample_from_probs(
        self, probs: torch.Tensor, sampling_info, positions, simple_sampling_case: bool
    ):
        """Nothing is drawn where every row thinks; only on a CPU can that be seen without waiting
        for the device."""
        if (
            self._step is not None
            and probs.is_cpu
            and sampling_info.sampling_mask_batch_indices is None
        ):
            record = self._step.record
            if record.kind.all():  # PLAIN is 0
                return record.token.clone(), None
        return super()._sample_from_probs(probs, sampling_info, positions, simple_sampling_case)

    def merge(self, tokens: torch.Tensor) -> None:
        """Put the tokens of thinking rows into `tokens` [B], in place."""
        if self._step is not None:
            self._step.merge(tokens)

    def _sync_token_ids_across_tp(self, batch_next_token_ids, sampling_info) -> None:
        self.merge(batch_next_token_ids)
        super()._sync_token_ids_across_tp(batch_next_token_ids, sampling_info)
