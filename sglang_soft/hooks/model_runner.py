"""ModelRunner: connect the model to the plugin, and keep captured graphs to what they captured."""

import logging
import time
from typing import Any

from sglang_soft.engine import unsupported
from sglang_soft.engine.embedding import SoftModel, inputs_of
from sglang_soft.engine.warmup import warmup
from sglang_soft.server.settings import get_settings

logger = logging.getLogger(__name__)


def after_load_model(_result, self) -> None:
    """Sets `model_runner.soft`."""
    if not self.is_generation or self.is_draft_worker:
        return
    try:
        self.soft = SoftModel(self, get_settings().max_k)
        unsupported.serves(self)
    except LookupError as error:
        unsupported.found(f"concept tokens cannot be mixed here: {error}")


def init_cuda_graphs(original, self, *args, **kwargs):
    """Compile before the first request. A captured decode graph reads the pool, so the pool has to
    be there, at its final address, and the graph has to mix."""
    soft: Any = getattr(self, "soft", None)
    settings = get_settings()
    if soft is not None and settings.enabled:
        start = time.monotonic()
        steps = warmup(soft, self.model_config.vocab_size, self.device, settings.max_k)
        logger.info("Soft Thinking: %d warm-up steps, %.1f s", steps, time.monotonic() - start)
    # A graph of a server that merely has the plugin stays as it is: there soft batches run eagerly.
    captures = soft is not None and settings.enabled and not self.server_args.disable_cuda_graph
    if captures:
        soft.mixes_in_graphs = True
        soft.pool.with_offsets()
    result = original(self, *args, **kwargs)
    if captures and self.decode_cuda_graph_runner is not None and not soft.in_graph:
        raise SystemExit(
            f"sglang-soft: the captured decode graph of {type(self.model).__name__} does not mix "
            "concept tokens. Start with --disable-cuda-graph, or run without the plugin: "
            "SGLANG_PLUGINS=none."
        )
    return result


def prefill_can_run_graph(result: bool, _runner, forward_batch) -> bool:
    """Captured prefill graphs embed plain tokens and give no logits away: a forward that replays
    concept tokens, or is read, runs eagerly."""
    inputs = inputs_of(forward_batch)
    return result and (inputs is None or (inputs.embed is None and not inputs.readings))


def decode_can_run_graph(result: bool, runner, forward_batch) -> bool:
    """Not with a graph that does not mix, nor with one that was captured without the hidden states
    that a method reads; `--return-hidden-states-mode last` has it captured with them."""
    inputs = inputs_of(forward_batch)
    if inputs is not None and inputs.embed is not None and not runner.model_runner.soft.in_graph:
        return False
    return result and forward_batch.capture_hidden_mode <= runner.capture_hidden_mode
