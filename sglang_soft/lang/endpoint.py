"""`RuntimeEndpoint`: programs on a server with the plugin."""

import json
from collections.abc import Iterator
from typing import Any

from sglang.utils import http_request

from sglang_soft.lang.backend import Backend, Body
from sglang_soft.lang.prefix import Prefix


class RuntimeEndpoint(Backend):
    """SGLang's RuntimeEndpoint, with its arguments, for programs with `sglang_soft.lang.gen`.

    A program holds its traces and sends them, so that it depends on nothing that the server keeps.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.support_concate_and_append = False  # the server has no such endpoint; text is joined

    def _refer_to(self, prefix: Prefix) -> Any:
        return prefix.trace.to_base64()

    def _request(self, path: str, body: Body, stream: bool = False) -> Any:
        response = http_request(
            self.base_url + path,
            json=body,
            stream=stream,
            api_key=self.api_key,
            verify=self.verify,
        )
        self._assert_success(response)
        return response

    def _ask(self, body: Body) -> Any:
        return self._request("/generate", body).json()

    def _ask_stream(self, body: Body) -> Iterator[dict[str, Any]]:
        with self._request("/generate", body | {"stream": True}, stream=True) as response:
            for line in response.iter_lines():
                if line.startswith(b"data: {"):
                    chunk = json.loads(line[6:])
                    if "error" in chunk:
                        raise RuntimeError(chunk["error"])
                    yield chunk

    def _decode(self, ids: list[list[int]]) -> list[str]:
        body = {"tokens": ids, "skip_special_tokens": False}
        return self._request("/detokenize", body).json()["text"]
