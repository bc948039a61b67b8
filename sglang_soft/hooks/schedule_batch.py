"""ScheduleBatch: a soft request that is prefilled again sends output ids to the device.

Cache keys are no token ids: nothing on the device may see them (range checks, penalties, hash
embeddings). What those positions feed is in the step inputs (hooks/forward_batch.py).
"""


def after_prepare_for_extend(_result, self) -> None:
    at = 0  # position in the flattened input of the batch
    for req, prefix, length in zip(self.reqs, self.prefix_lens, self.extend_lens, strict=True):
        if req.soft is not None:
            req.soft.count_retractions(req.retraction_count)
            positions = req.soft.trace.concept_positions(prefix, prefix + length)
            prompt = len(req.origin_input_ids)
            for position in positions:
                # Of a request that reads a trace, concept tokens are in the prompt.
                of, index = req.origin_input_ids, position
                if position >= prompt:
                    of, index = req.output_ids, position - prompt
                self.prefill_input_ids_cpu[at + position - prefix] = of[index]
        at += length
