from typing import Annotated

from sglang_soft_kernels.index import identity

from sglang_soft.methods import density, noise
from sglang_soft.methods.base import Draw, Method, NextInput, StepContext
from sglang_soft.params import Temperature, ThinkingParams, described


class SoftNoise(Method):
    """Soft, plus Gaussian noise on the embedding.

    e + sigma N(0, I), sigma = noise_scale times the root mean square of the embedding table's
    elements; output token: the most probable one. The paper mixes the whole vocabulary and trains
    with it; here it is the k most probable.
    """

    name = "soft_noise"
    source = "arXiv 2509.19170"

    class Params(ThinkingParams, tag="soft_noise", kw_only=True, frozen=True):
        temperature: Temperature | None = 0.5
        noise_scale: Annotated[
            float,
            described("Standard deviation of the noise, in units of the embedding table's RMS",
                      ge=0, le=100),
        ] = 0.33  # fmt: skip

    stochastic = True
    has_density = True
    feeds_offset = True

    def step(self, context: StepContext) -> NextInput:
        lanes = identity(context.hidden_size, context.ids.device)
        sigma = context.arg("noise_scale")[:, None] * context.embedding_rms
        offset = sigma * context.noise.normal(noise.NORMAL, lanes)
        return NextInput(context.ids, context.probs, context.ids[:, 0], embedding_offset=offset)

    def log_prob(self, context: StepContext, fed: NextInput) -> Draw:
        assert fed.embedding_offset is not None
        sigma = context.arg("noise_scale") * context.embedding_rms
        return Draw(context.candidates, density.normal(fed.embedding_offset, sigma))
