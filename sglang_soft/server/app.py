"""The HTTP application of one tokenizer worker (`--tokenizer-worker-num` above 1).

Workers are started by uvicorn, which imports an application by its path
(SGLANG_HTTP_SERVER_APP_PATH, set by plugin.py): this one loads SGLang's plugins first, which SGLang
does in every process of its own but these.
"""

import os
import pkgutil

from sglang.srt.plugins import load_plugins

from sglang_soft.plugin import WRAPPED_APP

load_plugins()

app = pkgutil.resolve_name(os.environ.get(WRAPPED_APP, "sglang.srt.entrypoints.http_server:app"))
