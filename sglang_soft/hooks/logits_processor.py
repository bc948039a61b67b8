"""LogitsProcessor: logits of a prefill for requests that read them (server/reading.py)."""

from sglang.srt.layers.logits_processor import LogitsMetadata

from sglang_soft.engine.embedding import current_forward, inputs_of


def after_forward(
    result, self, input_ids, hidden_states, lm_head, logits_metadata, *args, **kwargs
):
    """SGLang computes logits of last positions only, or log-probabilities of chosen tokens. The
    copy to the host waits for the device, in prefills that are read and in no other forward."""
    forward = current_forward.get()
    inputs = None if forward is None else inputs_of(forward.forward_batch)
    if inputs is None or not inputs.readings:
        return
    if not isinstance(logits_metadata, LogitsMetadata):
        logits_metadata = LogitsMetadata.from_forward_batch(logits_metadata)
    for reading, position, tokens in inputs.readings:
        hidden = hidden_states[tokens]
        logits = self._get_logits(hidden, lm_head, logits_metadata, use_logits_buffer=False)
        reading.put(position, logits.float().cpu().numpy(), hidden.float().cpu().numpy())
