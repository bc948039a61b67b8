"""The tokens that SwiReasoning and SeLaR never mix, from their authors' list of symbols
(`get_math_symbols_ids` of sdc17/SwiReasoning), written down anew.

Every token of a symbol's encoding counts, not only the symbols that are one token.
"""

import string

SIGNS = "+-*/^=<>()[]{}_|" + string.digits + string.ascii_letters
COMMANDS = """
    alpha angle approx arccos arcsin arctan arg ast because beta binom boxed cap cdot cdots choose
    circ cos cot cotg csc cup ddots deg delta dfrac dots emptyset epsilon equiv exists exp forall
    frac gamma gcd geq iff implies in infty int lambda lceil ldots left leq lfloor lim ln log mathbb
    mathbf mathrm max mbox mid min mu neg neq notin nu operatorname overline parallel perp pi prime
    prod rceil rfloor right sec sim sin sqrt star subset subseteq sum supset supseteq tan text
    therefore theta to triangle triangleleft triangleright underline varnothing vdots vee Vert vert
    wedge zeta
""".split()
WITH_BRACKETS = ("left(", "right)", "left[", "right]", "left\\{", "right\\}", "sqrt[]")
MATRIX = ("begin{pmatrix}", "end{pmatrix}")


def symbols() -> set[str]:
    return {*SIGNS, *("\\" + name for name in (*COMMANDS, *WITH_BRACKETS, *MATRIX))}


def math_ids(tokenizer) -> frozenset[int]:
    ids = (tokenizer.encode(s, add_special_tokens=False) for s in symbols())
    return frozenset(i for found in ids for i in found)
