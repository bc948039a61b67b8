"""What holds captured CUDA graphs to what they captured. No graph is made: SGLang's own checks run on
stubs, as no machine without a GPU captures one."""

from types import SimpleNamespace

import pytest
import torch
from sglang.srt.model_executor import runner as sglang_runner
from sglang.srt.model_executor.forward_batch_info import CaptureHiddenMode, ForwardMode
from sglang.srt.model_executor.runner.decode_cuda_graph_runner import DecodeCudaGraphRunner

from sglang_soft.engine.embedding import CurrentForward, SoftModel
from sglang_soft.engine.pool import ConceptPool
from sglang_soft.hooks import forward_batch as hooks
from sglang_soft.hooks import model_runner
from sglang_soft.server.settings import Settings
from tests.issue_table import row
from tests.unit.soft_request import soft_request


def forward(hidden=CaptureHiddenMode.NULL, embed: object = None) -> SimpleNamespace:
    """A decode batch, soft where it has something to embed."""
    soft = None if embed is None else SimpleNamespace(embed=embed)
    return SimpleNamespace(
        capture_hidden_mode=hidden,
        sampling_info=SimpleNamespace(soft=soft),
        forward_mode=ForwardMode.DECODE,
        req_pool_indices=torch.tensor([1]),
    )


@row(
    "A3",
    "coconut_tf on a server with default CUDA graphs",
    "the server died at its first decode step",
    "such a batch runs without the graph",
)
@pytest.mark.parametrize("captured", [CaptureHiddenMode.NULL, CaptureHiddenMode.LAST])
def test_a_graph_without_hidden_states_is_not_used_where_a_method_reads_them(captured):
    """SGLang stops the scheduler if it is."""
    runner = SimpleNamespace(
        capture_hidden_mode=captured,
        model_runner=SimpleNamespace(soft=SimpleNamespace(in_graph=True)),
    )
    for hidden in (CaptureHiddenMode.NULL, CaptureHiddenMode.LAST):
        batch = forward(hidden, embed=object())
        if model_runner.decode_can_run_graph(True, runner, batch):
            DecodeCudaGraphRunner._validate_capture_hidden_mode(runner, batch)
        else:
            with pytest.raises(RuntimeError, match="exceeds the fixed CUDA graph"):
                DecodeCudaGraphRunner._validate_capture_hidden_mode(runner, batch)
        assert not model_runner.decode_can_run_graph(False, runner, batch)


@pytest.mark.parametrize("mixes", [False, True])
def test_a_graph_that_does_not_mix_is_for_discrete_batches_only(mixes):
    runner = SimpleNamespace(
        capture_hidden_mode=CaptureHiddenMode.NULL,
        model_runner=SimpleNamespace(soft=SimpleNamespace(in_graph=mixes)),
    )
    assert model_runner.decode_can_run_graph(True, runner, forward(embed=object())) is mixes
    assert model_runner.decode_can_run_graph(True, runner, forward())


def soft_model() -> SimpleNamespace:
    return SimpleNamespace(
        pool=ConceptPool(4, 3, "cpu", hidden_size=4), mixes_in_graphs=False, in_graph=False
    )


@pytest.mark.parametrize("asked", [False, True])
def test_graphs_mix_on_a_server_that_was_asked_for_it_alone(monkeypatch, asked):
    monkeypatch.setattr(sglang_runner, "get_is_capture_mode", lambda: True)
    monkeypatch.setattr(model_runner, "warmup", lambda *_: 0)
    settings = Settings(required=asked)
    assert settings.enabled is asked
    monkeypatch.setattr(model_runner, "get_settings", lambda: settings)
    made = SimpleNamespace(
        soft=soft_model(), device="cpu", decode_cuda_graph_runner=object(),
        model=torch.nn.Linear(1, 1), model_config=SimpleNamespace(vocab_size=8),
        server_args=SimpleNamespace(disable_cuda_graph=False),
    )  # fmt: skip

    def capture(runner) -> str:
        """What SGLang captures: a decode batch without step inputs."""
        embed = CurrentForward(forward(), runner.soft).embed
        assert (embed is not None) is asked is runner.soft.in_graph
        return "captured"

    assert model_runner.init_cuda_graphs(capture, made) == "captured"
    made.soft = soft_model()
    if asked:
        with pytest.raises(SystemExit, match="graph of Linear does not mix concept tokens"):
            model_runner.init_cuda_graphs(lambda _: None, made)
    else:
        model_runner.init_cuda_graphs(lambda _: None, made)


def test_a_forward_that_never_asks_the_embedding_ends_with_an_error():
    model = SimpleNamespace(forward=lambda input_ids, positions, batch: input_ids)
    made = object.__new__(SoftModel)
    made._runner = SimpleNamespace(model=model)
    made._watch_forward()
    assert model.forward(1, 2, forward()) == 1
    with pytest.raises(RuntimeError, match="did not read its concept tokens"):
        model.forward(1, 2, forward(embed=object()))


@row(
    "A2",
    "a row that a stranger's concept token is left in, taken by a beam search",
    "a captured graph feeds it to the beam",
    "the row is cleaned",
)
def test_rows_that_a_beam_search_takes_for_its_members_are_clean():
    """They are never prefilled, and a captured graph mixes by what is in them."""
    pool = ConceptPool(6, 3, "cpu")
    pool.start([1, 2, 4], [soft_request(max_topk=3)] * 3)
    pool.weights[[1, 2, 4], 0] = 0.5
    batch = SimpleNamespace(reqs=[object()] * 2, req_pool_indices_cpu=torch.tensor([1, 3, 4, 5]))
    hooks.clean_beam_rows(pool, batch)
    assert pool.dirty == {1, 2}, "rows of requests and of others stay as they are"
    assert pool.weights[:, 0].tolist() == [0, 0.5, 0.5, 0, 0, 0]
