"""ModelRunner: connect the model to the plugin, and carry concept tokens from the sampler to the
host."""

import functools

import torch
from sglang.srt.managers.auxiliary_output import append_auxiliary_output

from sglang_soft.runner import (
    DirectForward,
    EmbedScope,
    concept_pool,
    direct_forward,
    embed_scope,
    input_embedding,
    measure_embedding,
)
from sglang_soft.transfer import DeviceConcepts


def after_load_model(_result, self) -> None:
    """Mark the input embedding and measure its table, and make calls of `model.forward` visible:
    CUDA-graph capture makes them itself."""
    if not self.is_generation or self.is_draft_worker:
        return
    try:
        embedding = input_embedding(self.model)
        embedding.soft_input_embedding = True
        self.soft_embedding = measure_embedding(embedding)
    except LookupError as error:
        raise SystemExit(
            f"sglang-soft cannot mix concept tokens here: {error}. Run without the plugin: SGLANG_PLUGINS=none."
        ) from error
    model_forward = self.model.forward

    @functools.wraps(model_forward)
    def forward_with_context(input_ids, positions, forward_batch, *args, **kwargs):
        token = direct_forward.set(DirectForward(forward_batch, self))
        try:
            return model_forward(input_ids, positions, forward_batch, *args, **kwargs)
        finally:
            direct_forward.reset(token)

    self.model.forward = forward_with_context


def forward(original, self, forward_batch, *args, **kwargs):
    """Run one forward with its embedding plan in reach of the input embedding."""
    scope = EmbedScope(getattr(forward_batch, "soft_embed", None))
    token = embed_scope.set(scope)
    try:
        output = original(self, forward_batch, *args, **kwargs)
    finally:
        embed_scope.reset(token)
    replayed = (
        output.can_run_graph and forward_batch.forward_mode.is_decode()
    )  # the captured graph holds the mixing
    if scope.plan is not None and not scope.mixed and not replayed:
        raise RuntimeError(
            f"{type(self.model).__name__} did not read its concept tokens: its input embedding was not called. "
            "Serve this model without Soft Thinking."
        )
    return output


def prefill_can_run_graph(result: bool, _runner, forward_batch) -> bool:
    """Captured prefill graphs embed plain tokens: a forward that replays concept tokens runs
    eagerly."""
    scope = embed_scope.get()
    return result and (scope is None or scope.plan is None)


def before_init_cuda_graphs(self, *args, **kwargs) -> None:
    """A captured graph reads the pool, so the pool has to be there, at its final address."""
    if self.is_generation and not self.is_draft_worker and not self.server_args.disable_cuda_graph:
        concept_pool(self).with_vectors()


def sample(original, self, logits_output, forward_batch):
    """Run SGLang's sampling with our step inside (hooks/sampler.py) and queue the concept tokens
    for the host."""
    plan = getattr(forward_batch, "soft", None)
    if plan is None:
        return original(self, logits_output, forward_batch)
    hidden = _last_hidden(logits_output, forward_batch) if plan.reads_hidden else None
    with self.sampler.stepping(plan, hidden) as outcome:
        tokens = original(self, logits_output, forward_batch)
    logits_output.auxiliary_device_output = append_auxiliary_output(
        logits_output.auxiliary_device_output, DeviceConcepts.of(outcome.step, plan)
    )
    return tokens


def _last_hidden(logits_output, forward_batch) -> torch.Tensor:
    """[B, H]: hidden states at the positions that gave the logits. In a prefill SGLang may return
    all positions."""
    hidden = logits_output.hidden_states
    if len(hidden) != len(logits_output.next_token_logits):
        hidden = hidden[torch.cumsum(forward_batch.extend_seq_lens, 0) - 1]
    return hidden
