"""The text of a cell as a literal: what JSON, Python and numpy write for lists, dicts, texts and numbers."""

import ast
import io
import json
import re
import tokenize
import warnings
from typing import Any

# Two values with nothing but blanks between them, as numpy's str() writes them: ['a' 'b'], [1 2].
WITHOUT_COMMA = re.compile(r"""['"\d.]\s+['"\d]""")
VALUES = (tokenize.STRING, tokenize.NUMBER)
LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
NUMPY = ("np", "numpy")


def parse_literal(text: str) -> Any:
    """The value that a text stands for. Numbers of JSON stay texts, so that 1.50 and 007 are not changed.

    Raises:
        ValueError: it is no literal.
    """
    try:
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            tree = ast.parse(_with_commas(text.strip()), mode="eval")
        return ast.literal_eval(_PlainLiterals().visit(tree))
    except (SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as problem:
        raise ValueError("no literal") from problem


def _with_commas(text: str) -> str:
    if not WITHOUT_COMMA.search(text):
        return text
    parts, last = [], None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in LAYOUT:
            continue
        parts += [","] if last in VALUES and token.type in VALUES else []
        parts.append(token.string)
        last = token.type
    return " ".join(parts)


class _PlainLiterals(ast.NodeTransformer):
    """`array([...], dtype=object)`, `np.int64(19)`, `np.str_('x')` and `nan`, as numpy and pandas write them."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call of `array` or of anything of numpy's is its first argument; other calls stay, and are no literals."""
        self.generic_visit(node)
        called = node.func
        of_numpy = isinstance(called, ast.Attribute) and getattr(called.value, "id", None) in NUMPY
        is_array = isinstance(called, ast.Name) and called.id == "array"
        return node.args[0] if node.args and (of_numpy or is_array) else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Constant(None) if node.id == "nan" else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.Constant(None) if node.attr == "nan" and getattr(node.value, "id", None) in NUMPY else node
