"""Arguments of `sglang-soft ask`, and what it says where nothing answers."""

import pytest

from sglang_soft.server.process import free_port
from sglang_soft.terminal import command


def soft(*argv: str) -> dict:
    return command.soft(command.build_parser().parse_args(["q", *argv]))


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        ([], {}),
        (["-p", "max_topk=5", "-p", "weight_bits=null"], {"max_topk": 5, "weight_bits": None}),
        (["-p", "method=cot"], {"method": "cot"}),
        (["-p", 'closing_text="5"'], {"closing_text": "5"}),
        (["-p", "closing_text=a=b"], {"closing_text": "a=b"}),
        (
            ["--params", '{"max_topk": 5, "top_p": 1}', "-p", "top_p=0.5"],
            {"max_topk": 5, "top_p": 0.5},
        ),
        (["--method", "moi", "--params", '{"method": "moi"}'], {"method": "moi"}),
    ],
)
def test_parameters(argv, found):
    assert soft(*argv) == found


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--params", "{"], ["--params", "JSON object", "'{'"]),
        (["--params", "[1]"], ["--params", "JSON object", "'[1]'"]),
        (["-p", "max_topk"], ["KEY=VALUE", "'max_topk'"]),
        (["-p", "=3"], ["KEY=VALUE", "'=3'"]),
        (["--method", "moi", "-p", "method=cot"], ["moi", "'cot'"]),
        (["-p", "return_concepts=false"], ["return_concepts"]),
        (["--save", "/no/such/folder/a.npz"], ["--save", "/no/such/folder"]),
        (["--save", "a.txt"], ["--save", ".npz", "a.txt"]),
        (["--max-tokens", "0"], ["--max-tokens", ">= 1", "0"]),
        (["--url", "nowhere"], ["http", "'nowhere'"]),
        (["--temperature", "warm"], ["--temperature", "'warm'"]),
        (["--nope"], ["--nope"]),
    ],
)
def test_wrong_arguments_are_status_3_and_one_line(argv, words, capsys):
    try:
        status = command.main(["q", *argv])
    except SystemExit as error:
        status = error.code
    said = capsys.readouterr()
    assert status == 3 and not said.out and said.err.startswith("error: ")
    assert said.err.count("\n") == 1 and all(word in said.err for word in words), said.err


def test_an_empty_question_is_refused(capsys):
    assert command.main([""]) == 3 and "empty" in capsys.readouterr().err


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_no_server_is_status_2(capsys, json):
    url = f"http://127.0.0.1:{free_port()}"
    assert command.main(["q", "--url", url, *json]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.count("\n") == 1 and url in said.err
