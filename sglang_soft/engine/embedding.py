"""The input embedding of a model: where concept tokens are mixed.

`SoftModel` is all that the plugin keeps of one model. Mixing happens before the tensor-parallel
all-reduce, on every rank's own shard of the vocabulary: the mixture is linear, so the sum over
ranks is the mixture over the whole vocabulary. Partial sums stay in float32 until the all-reduce
has added them.
"""

import functools
import math
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from sglang_soft_kernels import VocabShard, embedding_mixture

from sglang_soft.engine.inputs import EmbedInputs, StepInputs, graph_embed
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.engine.realignment import blocks, output_head, realignment
from sglang_soft.methods.token_classes import TokenClasses

_READS_IDS = ("embed_tokens_per_layer", "ple_embedding", "ngram_embedding", "engram", "tid2eid")
"""Parts of models that look up more than the input embedding by input id: per-layer embeddings
(Gemma 3n and 4), n-gram embeddings (LongCat, DeepSeek V4.1) and experts chosen by id (DeepSeek V4).
They would see the output token of a concept token."""
_EMBEDDING_NAMES = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embedding")


class EmbeddingFacts(NamedTuple):
    """What methods may know of the model's input embedding."""

    hidden_size: int
    dtype: torch.dtype
    rms: float
    """Root mean square of the table's elements, over the whole vocabulary, padding left out."""
    norm: float
    """Mean Euclidean norm of the table's rows, likewise."""


class CurrentForward:
    """The call of `model.forward` that is running, and whether its embedding was asked."""

    def __init__(self, forward_batch: Any, soft: "SoftModel") -> None:
        self.forward_batch = forward_batch
        self.soft = soft
        self.mixed = False

    @property
    def embed(self) -> EmbedInputs | None:
        """The embedding inputs of this forward; None: every token is a plain one."""
        inputs = inputs_of(self.forward_batch)
        if inputs is not None:
            return inputs.embed
        # SGLang captures a decode graph, or warms up for it. Soft and plain rows are told apart by
        # the pool's data at replay.
        from sglang.srt.model_executor.runner import get_is_capture_mode

        captures = self.soft.mixes_in_graphs and get_is_capture_mode()
        if captures and self.forward_batch.forward_mode.is_decode():
            self.soft.in_graph = True
            return graph_embed(self.soft.pool, self.forward_batch.req_pool_indices)
        return None


current_forward: ContextVar[CurrentForward | None] = ContextVar("sglang_soft", default=None)


def inputs_of(forward_batch) -> StepInputs | None:
    """The step inputs that travel with a forward (hooks/forward_batch.py)."""
    return getattr(forward_batch.sampling_info, "soft", None)


class SoftModel:
    """A model that is served with Soft Thinking: its input embedding and its concept pool."""

    def __init__(self, model_runner, max_k: int) -> None:
        """Raises LookupError: concept tokens cannot be mixed in this model."""
        self._runner = model_runner
        self._max_k = max_k
        self.embedding = input_embedding(model_runner.model)
        self.facts = measure_embedding(self.embedding)
        """As of the last `measure`."""
        self.token_classes = TokenClasses()
        """Its tokenizer comes when the scheduler has it (hooks/output_streamer.py)."""
        self.mixes_in_graphs = False
        """Decode graphs are captured for soft batches too (hooks/model_runner.py)."""
        self.in_graph = False
        """A captured decode graph mixes."""
        self.checked_at = 0
        """SGLang's count of forwards when the pool was last checked (hooks/scheduler.py)."""
        self._mix_in_embedding()
        self._watch_forward()

    @functools.cached_property
    def pool(self) -> ConceptPool:
        """Made at the first soft request, or before CUDA graphs are captured."""
        runner, facts = self._runner, self.facts
        rows = runner.req_to_token_pool.req_to_token.shape[0]
        return ConceptPool(
            rows, self._max_k, runner.device, hidden_size=facts.hidden_size, dtype=facts.dtype,
            embedding_rms=facts.rms, embedding_norm=facts.norm,
            realignment=lambda: self.realignment, token_ids=self.token_classes,
        )  # fmt: skip

    @functools.cached_property
    def realignment(self) -> torch.Tensor:
        """[H, H] float32, made at the first step of a request that asks for it, by all ranks in the
        same step. A request is refused where `no_realignment` says why."""
        return realignment(self.embedding, output_head(self._runner.model, self.embedding))

    @functools.cached_property
    def no_realignment(self) -> str | None:
        """Why there is none, or None."""
        try:
            output_head(self._runner.model, self.embedding)
        except LookupError as error:
            return str(error)
        return None

    def measure(self) -> None:
        """The weights have changed."""
        self.facts = measure_embedding(self.embedding)
        vars(self).pop("realignment", None)
        if self.has_pool:
            self.pool.embedding_rms, self.pool.embedding_norm = self.facts.rms, self.facts.norm

    @property
    def has_pool(self) -> bool:
        return "pool" in vars(self)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What tells this model from another one, the same on every rank."""
        config = self._runner.model_config
        return {
            "architecture": type(self._runner.model).__name__,
            "vocab_size": config.vocab_size,
            "hidden_size": config.hidden_size,
            "layers": config.num_hidden_layers,
            "dtype": str(config.dtype).removeprefix("torch."),
            # Measured, so that other weights of the same shape are told apart; rounded, because
            # ranks of another tensor-parallel size add it up in another order.
            "embedding_rms": float(f"{self.facts.rms:.6g}"),
        }

    def _mix_in_embedding(self) -> None:
        """Replace two methods of this one embedding; every other embedding stays as it is."""
        embedding = self.embedding
        plain_shard, plain_forward = embedding._embed_local_shard, embedding.forward

        @functools.wraps(plain_shard)
        def embed_local_shard(input_: torch.Tensor) -> torch.Tensor:
            forward = current_forward.get()
            embed = None if forward is None else forward.embed
            if forward is None or embed is None:
                return plain_shard(input_)
            forward.mixed = True
            return mix(embedding, input_, embed)

        @functools.wraps(plain_forward)
        def forward(input_: torch.Tensor) -> torch.Tensor:
            return round_once(embedding, plain_forward(input_))

        embedding._embed_local_shard, embedding.forward = embed_local_shard, forward

    def _watch_forward(self) -> None:
        """Make every call of `model.forward` visible to the embedding; graph capture makes such
        calls as well."""
        model = self._runner.model
        plain_forward = model.forward

        @functools.wraps(plain_forward)
        def forward(input_ids, positions, forward_batch, *args, **kwargs):
            current = CurrentForward(forward_batch, self)
            token = current_forward.set(current)
            try:
                output = plain_forward(input_ids, positions, forward_batch, *args, **kwargs)
            finally:
                current_forward.reset(token)
            inputs = inputs_of(forward_batch)
            if inputs is not None and inputs.embed is not None and not current.mixed:
                raise RuntimeError(
                    f"{type(model).__name__} did not read its concept tokens: its input embedding "
                    "was not called. Serve this model without Soft Thinking."
                )
            return output

        model.forward = forward


def mix(embedding, input_: torch.Tensor, embed: EmbedInputs) -> torch.Tensor:
    """[T] ids -> [T, H]: mixtures where `embed` says so, plain rows elsewhere.

    embedding: a `VocabParallelEmbedding`. The result is float32 where ranks have yet to be added.
    """
    shard, first_rank = None, True
    if embedding.tp_size > 1:
        s = embedding.shard_indices
        shard = VocabShard(
            s.org_vocab_start_index, s.org_vocab_end_index, s.num_org_vocab_padding,
            s.added_vocab_start_index, s.added_vocab_end_index,
        )  # fmt: skip
        first_rank = s.org_vocab_start_index == 0
    rows = embed.rows
    if len(rows) < len(input_):  # SGLang padded the batch; row 0 is a plain token
        rows = torch.nn.functional.pad(rows, (0, len(input_) - len(rows)))
    return embedding_mixture(
        embedding.weight,
        input_,
        rows,
        embed.ids,
        embed.weights,
        offsets=embed.offsets,
        has_offset=embed.has_offset,
        add_offsets=first_rank,
        shard=shard,
        out_dtype=torch.float32 if embedding.tp_size > 1 else embedding.output_dtype,
    )


def round_once(embedding, output: torch.Tensor) -> torch.Tensor:
    """The sum over ranks in the model's dtype. Plain embeddings have it already."""
    return output.to(embedding.output_dtype or embedding.weight.dtype)


def input_embedding(model):
    """The `VocabParallelEmbedding` that embeds the model's input ids.

    Raises:
        LookupError: there is none, its table is quantised, or another part of the model looks up
            input ids as well: concept tokens cannot be mixed.
    """
    from sglang.srt.layers.quantization.unquant import UnquantizedEmbeddingMethod
    from sglang.srt.layers.vocab_parallel_embedding import VocabParallelEmbedding

    name = type(model).__name__
    found = {
        path: module
        for path, module in model.named_modules()
        if type(module) is VocabParallelEmbedding and path.rsplit(".", 1)[-1] in _EMBEDDING_NAMES
    }
    if len(found) != 1:
        raise LookupError(
            f"{name} has {len(found)} candidates for its input embedding: {list(found)}"
        )
    (module,) = found.values()
    paths = [path for path, _ in (*model.named_modules(), *model.named_parameters())]
    if other := next((path for path in paths if _reads_ids(path)), None):
        raise LookupError(f"{name} looks up its input ids a second time ({other})")
    if not isinstance(module.quant_method, UnquantizedEmbeddingMethod):
        quantised = type(module.quant_method).__name__
        raise LookupError(f"the input embedding of {name} is quantised ({quantised})")
    return module


def _reads_ids(path: str) -> bool:
    """A module or parameter at `path` is one of `_READS_IDS`, in singular or plural."""
    last = path.rsplit(".", 1)[-1]
    return last in _READS_IDS or last.removesuffix("s") in _READS_IDS


def measure_embedding(module) -> EmbeddingFacts:
    """Facts of a `VocabParallelEmbedding`; every tensor-parallel rank gets the same ones."""
    table = module.weight
    sums = torch.zeros(2, dtype=torch.float64, device=table.device)
    for block in blocks(module, table):
        squares = block.float().square().sum(1, dtype=torch.float64)
        sums += torch.stack([squares.sum(), squares.sqrt().sum()])
    if module.tp_size > 1:
        torch.distributed.all_reduce(sums, group=module.tp_group.device_group)
    square, norm = (sums / module.num_embeddings).tolist()
    rms = math.sqrt(square / table.shape[1])
    return EmbeddingFacts(table.shape[1], module.output_dtype or table.dtype, rms, norm)
