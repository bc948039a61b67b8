"""The tokenizer: a token for each printable ASCII character, newline, control token and word of a
list."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>"]
"""Control tokens that `skip_special_tokens` removes from text."""

THINK_START, THINK_END = "<think>", "</think>"
"""Added tokens that stay in the text, as in Qwen3, so that a reasoning parser can see them."""

WORDS = [
    "system", "user", "assistant", "You are", " a ", "helpful", "What", " is ", "How much",
    "Compute ", "Calculate ", "Left", "Right", "Ones", "Tens", "Direct", "Check", "Answer",
    ": ", ", ", "; ", " = ",
]  # fmt: skip

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message.content is string -%}
        {%- set content = message.content -%}
    {%- else -%}
        {%- set texts = message.content | selectattr('type', 'equalto', 'text') -%}
        {%- set content = texts | map(attribute='text') | join -%}
    {%- endif -%}
    {%- if message.role == 'assistant' and '</think>' in content -%}
        {%- set content = content.split('</think>')[-1] -%}
    {%- endif -%}
    {{- '<|im_start|>' + message.role + '\\n' + content.strip() + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n<think>\\n' -}}
{%- endif -%}
"""


def build_tokenizer(model_max_length: int) -> PreTrainedTokenizerFast:
    """A fast tokenizer of 128 tokens: printable ASCII and newlines come back exactly, the rest is
    `<unk>`."""
    characters = ["\n", *map(chr, range(32, 127))]
    entries = [*SPECIAL, THINK_START, THINK_END, *WORDS, *characters]
    entries += [f"<|unused_{index}|>" for index in range(128 - len(entries))]
    vocabulary = {entry: index for index, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    # Longest word first: an alternation takes the first branch that fits. [\s\S] is any single
    # character.
    pattern = "|".join([*sorted(WORDS, key=len, reverse=True), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, special=True) for token in SPECIAL]
    )
    thinking = (THINK_START, THINK_END)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in thinking])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )
