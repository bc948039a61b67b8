"""ScheduleBatch: a soft request that is prefilled again sends output ids to the device.

Cache keys are no token ids: nothing on the device may see them (range checks, penalties, hash
embeddings). What those positions feed is in the step inputs (hooks/forward_batch.py).
"""

import torch


def after_prepare_for_extend(_result, self) -> None:
    at = 0  # position in the flattened input of the batch
    for req, prefix, length in zip(self.reqs, self.prefix_lens, self.extend_lens, strict=True):
        if req.soft is not None:
            req.soft.count_retractions(req.retraction_count)
            prompt = len(req.origin_input_ids)
            for positions, _, _ in req.soft.trace.fed(prefix, prefix + length):
                # Concept tokens that a trace brought are in the prompt.
                tokens = [
                    *req.origin_input_ids[positions.start : positions.stop],
                    *req.output_ids[
                        max(0, positions.start - prompt) : max(0, positions.stop - prompt)
                    ],
                ]
                first = at + positions.start - prefix
                self.prefill_input_ids_cpu[first : first + len(positions)] = torch.tensor(tokens)
        at += length
