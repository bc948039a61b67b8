"""DetokenizerManager: cut the answer at its own stop string, not the thought.

Runs in the detokenizer, which loads nothing else of ours.
"""

LAST_MATCH = "last_match"
"""Key of a finish reason: the stop string is the last one in the text. Clients do not see it."""


def trim_matched_stop(original, self, output, finished_reason, no_stop_trim):
    if not finished_reason or LAST_MATCH not in finished_reason or not isinstance(output, str):
        return original(self, output, finished_reason, no_stop_trim)
    matched = finished_reason["matched"]
    at = output.rfind(matched)
    if at < 0:
        return output
    return output[: at + len(matched)] if no_stop_trim else output[:at]
