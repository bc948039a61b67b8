import torch

from sglang_soft.fields import Field
from sglang_soft.methods import noise
from sglang_soft.methods.base import Method, Proposal, View


class SoftNoise(Method):
    """Soft, plus Gaussian noise on the embedding.

    e + sigma N(0, I), sigma = noise_scale times the root mean square of the embedding table's
    elements; readable: the most probable token. The paper mixes the whole vocabulary and trains
    with it; here it is the K most probable.
    """

    name = "soft_noise"
    source = "arXiv 2509.19170"
    fields = (
        Field("noise_scale", float, 0.33, "[0, 100]", lambda v: 0 <= v <= 100,
              "Standard deviation of the noise, in units of the embedding table's RMS"),
    )  # fmt: skip
    defaults = {"temperature": 0.5}
    random = True
    feeds_vector = True

    def step(self, view: View) -> Proposal:
        ids, weights = view.top()
        lanes = torch.arange(view.hidden_size, device=ids.device)
        sigma = view.arg("noise_scale")[:, None] * view.embedding_rms
        return Proposal(
            ids, weights, ids[:, 0], vector=sigma * view.noise.normal(noise.NORMAL, lanes)
        )
