"""Sampler: SGLang's own sampling, with a soft step before it for the rows that think."""

import torch
from sglang.srt.layers.logprob_processor import OutputLogprobProcessor
from sglang.srt.layers.sampler import Sampler
from sglang.srt.managers.auxiliary_output import append_auxiliary_output

from sglang_soft.engine import unsupported
from sglang_soft.engine.inputs import StepInputs
from sglang_soft.engine.step import StepOutput, concept_step


def after_create_sampler(sampler: Sampler, *args, **kwargs) -> Sampler:
    """Replace SGLang's own sampler; one that a hardware plugin brought is not known to us."""
    if type(sampler) is not Sampler:
        unsupported.found(f"the sampler {type(sampler).__name__} is not supported")
        return sampler
    return SoftSampler()


class SoftSampler(Sampler):
    """`Sampler` whose rows in the thinking phase emit concept tokens.

    The soft step reads the logits after penalties, bias, grammar masks and custom processors, and
    before SGLang's sampling overwrites them. SGLang then samples the rows as usual; thinking rows
    get their own token in place of the drawn one, before logprobs are looked up and before ids are
    synchronised across ranks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.output_logprob_processor = LogprobsOfEmitted(self)
        self.step: StepOutput | None = None
        """Of the call that is running."""
        self._inputs: StepInputs | None = None
        """Set while `forward` runs: SGLang also preprocesses logits that it does not sample from
        (`compute_logprobs_only`)."""
        self._hidden: torch.Tensor | None = None

    def forward(self, logits_output, sampling_info, *args, **kwargs) -> torch.Tensor:
        inputs: StepInputs | None = getattr(sampling_info, "soft", None)
        if inputs is None or not inputs.requests:
            return super().forward(logits_output, sampling_info, *args, **kwargs)
        self._inputs = inputs
        self._hidden = _last_hidden(logits_output, inputs) if inputs.reads_hidden else None
        try:
            tokens = super().forward(logits_output, sampling_info, *args, **kwargs)
            step = self.step
            assert step is not None, "the sampler did not preprocess its logits"
        finally:
            self.step = self._inputs = self._hidden = None
        step.update_pool(tokens)
        logits_output.auxiliary_device_output = append_auxiliary_output(
            logits_output.auxiliary_device_output, step
        )
        return tokens

    def _preprocess_logits(self, logits: torch.Tensor, sampling_info) -> torch.Tensor:
        logits = super()._preprocess_logits(logits, sampling_info)
        if self._inputs is not None and self.step is None:
            self.step = concept_step(self._inputs, logits, self._hidden)
        return logits

    def _sample_from_probs(
        self, probs: torch.Tensor, sampling_info, positions, simple_sampling_case: bool
    ):
        """Nothing is drawn where every row thinks; only on a CPU can that be seen without waiting
        for the device."""
        step = self.step
        masked = sampling_info.sampling_mask_batch_indices is not None
        if step is not None and step.inputs.index is None and probs.is_cpu and not masked:
            record = step.record
            if record.kind.all():  # PLAIN is 0
                return record.token.clone(), None
        return super()._sample_from_probs(probs, sampling_info, positions, simple_sampling_case)

    def _sync_token_ids_across_tp(self, batch_next_token_ids, sampling_info) -> None:
        if self.step is not None:
            self.step.overwrite_tokens(batch_next_token_ids)
        super()._sync_token_ids_across_tp(batch_next_token_ids, sampling_info)


class LogprobsOfEmitted(OutputLogprobProcessor):
    """Logprobs of the token that was emitted, not of the one that SGLang drew for the row."""

    def __init__(self, sampler: SoftSampler) -> None:
        super().__init__()
        self._sampler = sampler

    def compute_logprobs(
        self, logprobs, top_logprobs_nums, token_ids_logprobs, batch_next_token_ids
    ):
        if self._sampler.step is not None:
            self._sampler.step.overwrite_tokens(batch_next_token_ids)
        return super().compute_logprobs(
            logprobs, top_logprobs_nums, token_ids_logprobs, batch_next_token_ids
        )


def _last_hidden(logits_output, inputs: StepInputs) -> torch.Tensor:
    """[N, H]: hidden states at the positions that gave the logits. In a prefill SGLang may return
    all positions."""
    hidden = logits_output.hidden_states
    if len(hidden) != len(logits_output.next_token_logits):
        assert inputs.last_positions is not None
        hidden = hidden[inputs.last_positions]
    return hidden
