"""`gen`: the call of a program that thinks softly."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sglang.lang.api as sgl
from sglang.lang.ir import SglExpr, SglExprList, SglGen

from sglang_soft.lang.options import Options


def gen(
    *args: Any,
    soft_thinking: bool | Mapping[str, Any] | None = None,
    continue_from: str = "concepts",
    sampling_seed: int | None = None,
    **kwargs: Any,
) -> SglExpr:
    """`sgl.gen` with its arguments and three more.

    soft_thinking: as in `custom_params`. `True` or an object of parameters: the request thinks
        softly. `False`: it does not, also on a server with a default. None: as `sgl.gen`.
    continue_from: what the text after this call continues from. "concepts": the concept tokens of
        the thought. "text": what can be read of it, as after every `sgl.gen`.
    sampling_seed: of SGLang, which `sgl.gen` does not have: the noise of a stochastic method.

    With `choices` it thinks first, to the end of the thought, and then chooses. The thought is the
    variable `NAME_thought`.

    Raises:
        ValueError: `soft_thinking` or `continue_from` is no such value, or `soft_thinking` has a
            key that the program sets itself.
        TypeError: as `sgl.gen`.
    """
    options = Options(soft_thinking, continue_from, sampling_seed)
    bound = inspect.signature(sgl.gen).bind(*args, **kwargs)
    if not bound.arguments.get("choices"):
        return _with(sgl.gen(*args, **kwargs), options)
    if not options.thinks:
        return sgl.gen(*args, **kwargs)
    given, name = dict(bound.arguments), bound.arguments.get("name")
    for of_choice in ("choices", "choices_method", "regex", "json_schema", "dtype"):
        given.pop(of_choice, None)
    given["name"] = None if name is None else f"{name}_thought"
    only = options.keys | {"max_answer_tokens": 0}
    thought = _with(sgl.gen(**given), replace(options, soft_thinking=only))
    return SglExprList([thought, sgl.gen(**bound.arguments | {"temperature": 0.0})])


def _with(expr: SglGen, options: Options) -> SglGen:
    if not options.none_given:
        params = expr.sampling_params
        params.dtype = replace(options, dtype=params.dtype)
    return expr


def _signature() -> inspect.Signature:
    """That of `sgl.gen` and the other arguments, for help() and editors."""
    ours = [p for p in inspect.signature(gen).parameters.values() if p.kind is p.KEYWORD_ONLY]
    theirs = inspect.signature(sgl.gen)
    return theirs.replace(
        parameters=[*theirs.parameters.values(), *ours], return_annotation=SglExpr
    )


gen.__signature__ = _signature()  # type: ignore[attr-defined]
