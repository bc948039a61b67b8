from typing import Annotated, Any, Literal

from sglang_soft_kernels import leave_latent, match_norm

from sglang_soft.methods import token_classes
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import ThinkingParams, described


class LaTER(Method):
    """Hidden states of the norm of an embedding first, drawn tokens for good afterwards.

    Latent steps feed m h / |h|, as `latent_mas` does, and emit the most probable token. A request
    leaves them for good at step N, or at the first step after step 0 at which the entropy at
    temperature 1 is above a threshold, or the most probable token holds a paragraph's end or one of
    </think>, <|endoftext|>, <|im_end|>. From that step on it is `cot`.

    The training-free variant, with one latent block. The authors look for these texts in the last
    26 tokens at every step: it is the same to look at each token once, but for a paragraph's end
    that is made of two tokens, which is not seen here. (They take spaces out first, and so does
    this.) Left out: before the block they sample 5 tokens, and a high entropy of one of them skips
    the block; and between the blocks they feed an end of sequence.
    """

    name = "later"
    source = "LaTER, training-free (authors' code)"

    class Params(ThinkingParams, tag="later", kw_only=True, frozen=True):
        later_tokens: Annotated[
            int, described("N: largest number of latent steps", ge=0, le=2**24)
        ] = 50
        later_entropy: Annotated[
            float,
            described("Entropy, in nats at temperature 1, above which latent steps end", ge=0,
                      le=1000),
        ] = 5.0  # fmt: skip
        later_stop: Annotated[
            Literal["text", "none"],
            described("Class of tokens at which latent steps end"),
        ] = "text"

    state = (1.0,)
    feeds_offset = True
    reads_hidden = True
    needs_full_filter = True
    needs_unfiltered = True
    stochastic = True
    token_classes = (token_classes.STOPS_LATENT,)

    def complete(self, params: ThinkingParams, tokenizer: Any, vocabulary: int) -> ThinkingParams:
        assert isinstance(params, self.Params)
        token_classes.check(tokenizer, "later_stop", params.later_stop)
        return params

    def step(self, context: StepContext) -> NextInput:
        # Its kernel reads the parameters by their order.
        unfiltered = context.sample.unfiltered
        assert unfiltered is not None and context.args is not None and context.hidden is not None
        of = leave_latent(
            unfiltered.entropy, context.state, context.args, context.ints, context.ids[:, 0],
            context.drawn.ids[:, 0], context.token_class(token_classes.STOPS_LATENT),
        )  # fmt: skip
        offset = match_norm(context.hidden, context.embedding_norm, context.dtype, of.latent)
        return NextInput(of.ids, of.weights, of.ids[:, 0], state=of.state, embedding_offset=offset)

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        assert fed.state is not None
        return context.draw(fed.state[:, 0] == 0)
