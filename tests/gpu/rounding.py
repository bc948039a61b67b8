"""Is an engine's bfloat16 trace what the float32 oracle says, rounding aside?

Teacher-forced: the oracle is fed what the engine really fed, concept tokens included, so that the
rounding of one step does not add up over the next ones, and every step is judged, not only those
before the first difference. A step is as it should be if its distribution is near the oracle's, and
its token's logit is the oracle's best, or hardly less.

Tolerances: bfloat16 has 8 bits, 2**-8 of a logit of 16 is 0.06. `python -m tests.gpu.rounding`
measures what bfloat16 alone does to the bundled model on a CPU; a GPU's kernels sum in another
order, so about three times that is allowed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from tests.oracle import Observed, Request, thinking_step
from tests.oracle.loop import embed_mixture, embed_tokens, first_phase
from tests.oracle.steps import argmax


class Tolerance(NamedTuple):
    weights: float = 0.08
    """Total variation between two concept tokens, in [0, 1]."""
    entropy: float = 0.05
    """Nats."""
    tie: float = 0.2
    """How far the emitted token's logit may be below the best one, for the oracle."""
    logprob: float = 0.2
    """Nats: between the logprob of a drawn token and the oracle's."""


TOLERANCE = Tolerance()


class Judged(NamedTuple):
    steps: int
    """Output positions that were judged."""
    weights: float
    """Largest total variation found, and so on."""
    entropy: float
    tie: float
    """Largest distance of an emitted token's logit from the best one."""


def total_variation(ids: Sequence[int], weights: Sequence[float], step) -> float:
    ours = dict(zip(step.ids, step.weights, strict=True))
    theirs = {i: w for i, w in zip(ids, weights, strict=True) if w}
    return sum(abs(ours.get(i, 0.0) - theirs.get(i, 0.0)) for i in ours.keys() | theirs.keys()) / 2


@torch.inference_mode()
def oracle_logits(
    model, prompt_ids: Sequence[int], observed: Observed, first_step: int
) -> torch.Tensor:
    """[outputs, V]: the oracle's logits at every output position, after the engine's own inputs."""
    inputs = [embed_tokens(model, prompt_ids)]
    for position, token in enumerate(observed.output_ids[:-1]):
        index = position - first_step
        if 0 <= index < len(observed.concepts):
            concept = observed.concepts[index]
            used = [(i, w) for i, w in zip(concept[0], concept[1], strict=True) if w]
            inputs.append(embed_mixture(model, *zip(*used, strict=True)))
        else:
            inputs.append(embed_tokens(model, [token]))
    logits = model(inputs_embeds=torch.cat(inputs)[None]).logits[0]
    return logits[len(prompt_ids) - 1 :].float()


def until_eos(observed: Observed, eos: int) -> Observed:
    """Without what `ignore_eos` made of the request after its end: that is no text, and the model
    knows none."""
    ids = list(observed.output_ids)
    return replace(observed, output_ids=ids[: ids.index(eos) + 1]) if eos in ids else observed


def judge(
    model,
    prompt_ids: Sequence[int],
    observed: Observed,
    request: Request,
    allowed: Tolerance = TOLERANCE,
) -> Judged:
    """Raises AssertionError at the first step outside the tolerances. The request's thinking, if
    any, begins with the prompt; Cold Stop and bounds are not judged."""
    thinks = request.method == "soft"
    assert not thinks or first_phase(prompt_ids, request) == "thinking", (
        "the prompt must end inside a think block"
    )
    every = oracle_logits(model, prompt_ids, observed, first_step=0)
    assert len(every) == len(observed.output_ids)
    worst = Judged(len(every), 0.0, 0.0, 0.0)
    for position, (token, logits) in enumerate(zip(observed.output_ids, every, strict=True)):
        margin = float(logits.max() - logits[token])
        assert margin < allowed.tie, (
            f"position {position}: token {token}, oracle {argmax(logits)}, margin {margin:.3g}"
        )
        worst = worst._replace(tie=max(worst.tie, margin))
        if position >= len(observed.concepts):
            continue
        step = thinking_step(
            logits, temperature=request.temperature, top_k=request.top_k, top_p=request.top_p,
            min_p=request.min_p, max_topk=request.max_topk,
        )  # fmt: skip
        ids, weights, entropy = observed.concepts[position]
        apart = abs(entropy - step.entropy)
        assert apart < allowed.entropy, (
            f"position {position}: entropy {entropy:.4f}, oracle {step.entropy:.4f}"
        )
        worst = worst._replace(entropy=max(worst.entropy, apart))
        if request.think_end_id in (token, argmax(logits)):
            continue  # plain think-end is fed, or nearly was: one-hot by rule, not by the logits
        distance = total_variation(ids, weights, step)
        assert distance < allowed.weights, (
            f"position {position}: concept tokens {distance:.3g} apart"
        )
        worst = worst._replace(weights=max(worst.weights, distance))
    return worst


def judge_sampled(
    model,
    prompt_ids: Sequence[int],
    observed: Observed,
    logprobs: Sequence[float],
    temperature: float,
    top_k: int,
    allowed: Tolerance = TOLERANCE,
) -> float:
    """The largest distance of a logprob, of tokens that a discrete request drew. Raises
    AssertionError at the first token outside the tolerances.

    logprobs: SGLang's, of each token: after temperature, before the filter.
    """
    every = oracle_logits(model, prompt_ids, observed, first_step=0)
    worst = 0.0
    for position, (token, logits) in enumerate(zip(observed.output_ids, every, strict=True)):
        least = float(logits.topk(top_k).values[-1])
        assert logits[token] > least - allowed.tie, f"position {position}: {token} is filtered out"
        expected = float((logits / temperature).log_softmax(-1)[token])
        apart = abs(logprobs[position] - expected)
        assert apart < allowed.logprob, (
            f"position {position}: logprob {logprobs[position]:.4f}, oracle {expected:.4f}"
        )
        worst = max(worst, apart)
    return worst


def first_difference(a: Observed, b: Observed) -> int | None:
    """First output position with different tokens, or None."""
    pairs = zip(a.output_ids, b.output_ids, strict=False)
    return next((position for position, (ours, theirs) in enumerate(pairs) if ours != theirs), None)


@torch.inference_mode()
def draw(model, prompt_ids: Sequence[int], case, eos: int) -> tuple[Observed, list[float]]:
    """Tokens that `model` draws for a discrete request, and their logprobs."""
    generator = torch.Generator().manual_seed(0)
    ids, logprobs = list(prompt_ids), []
    while len(logprobs) < 96 and (not logprobs or ids[-1] != eos):
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].float() / case.temperature
        kept = torch.where(logits >= logits.topk(case.top_k).values[-1], logits, -torch.inf)
        ids.append(int(torch.multinomial(kept.softmax(-1), 1, generator=generator)))
        logprobs.append(float(logits.log_softmax(-1)[ids[-1]]))
    output_ids = ids[len(prompt_ids) :]
    drawn = Observed(
        output_ids=output_ids, concepts=[], thinking_tokens=0, ended=None, finish="length"
    )
    return drawn, logprobs


def main() -> None:
    """What bfloat16 alone does: Hugging Face's bfloat16 as the engine, its float32 as the
    oracle."""
    from tests.gpu import requests
    from tests.models import tiny
    from tests.oracle import run

    exact, tokenizer = tiny.load(requests.MODEL)
    rounded, _ = tiny.load(requests.MODEL, dtype=torch.bfloat16)
    loose = Tolerance(*[float("inf")] * 4)
    for case in requests.CASES:
        prompt = requests.prompt_ids(tokenizer, case.question)
        if case.sampled:
            drawn, logprobs = draw(rounded, prompt, case, tokenizer.eos_token_id)
            worst = judge_sampled(
                exact, prompt, drawn, logprobs, case.temperature, case.top_k, loose
            )
            print(case.question, "sampled", f"logprob {worst:.4f} of {len(logprobs)} tokens")
            continue
        request = case.request(tokenizer)
        observed = until_eos(Observed.of(run(rounded, prompt, request)), tokenizer.eos_token_id)
        print(case.question, case.soft, judge(exact, prompt, observed, request, loose))


if __name__ == "__main__":
    main()
