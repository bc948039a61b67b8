"""DetokenizerManager: cut the answer at its own stop string, not the thought.

Runs in the detokenizer, which loads nothing else of ours.
"""

FROM_END = "match_from_end"
"""Key of a finish reason: how many characters before the end of the text the stop string begins, or
a few more. Clients do not see it."""


def trim_matched_stop(original, self, output, finished_reason, no_stop_trim):
    """SGLang looks for the stop string in the whole text, from its beginning."""
    if not finished_reason or FROM_END not in finished_reason or not isinstance(output, str):
        return original(self, output, finished_reason, no_stop_trim)
    start = max(0, len(output) - finished_reason[FROM_END])
    return output[:start] + original(self, output[start:], finished_reason, no_stop_trim)
