"""DetokenizerManager: a stop string is cut off where it stands in the answer."""

ANSWER_LENGTH = "soft_answer_length"
"""As in hooks/finish.py, which this process does not import."""


def trim_matched_stop(original, self, output, finished_reason, no_stop_trim):
    """SGLang cuts the text at the first match; the thought may hold one that did not count."""
    if not finished_reason or ANSWER_LENGTH not in finished_reason or not isinstance(output, str):
        return original(self, output, finished_reason, no_stop_trim)
    thought = max(0, len(output) - finished_reason.pop(ANSWER_LENGTH))
    return output[:thought] + original(self, output[thought:], finished_reason, no_stop_trim)
