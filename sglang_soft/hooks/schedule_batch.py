"""ScheduleBatch: a soft request that is prefilled again sends readable ids to the device.

Concept keys are names, not ids: nothing on the device may see them (range checks, penalties, hash
embeddings). What those positions feed is said by the forward plan (hooks/forward_batch.py).
"""


def after_prepare_for_extend(_result, self) -> None:
    at = 0  # position in the flattened input of the batch
    for req, prefix, length in zip(self.reqs, self.prefix_lens, self.extend_lens):
        if req.soft is not None:
            req.soft.count_replays(req.retraction_count)
            prompt = len(req.origin_input_ids)
            for index in req.soft.named_by_concept(prefix - prompt, prefix + length - prompt):
                self.prefill_input_ids_cpu[at + prompt + index - prefix] = req.output_ids[index]
        at += length
