"""Tables of numbers, for logs and for documents."""

from collections.abc import Sequence


def number(value: float | None, digits: int = 1, sign: bool = False) -> str:
    """A number in a table, '-' for None.

    Example:
        >>> number(2.04), number(None), number(2.04, sign=True)
        ('2.0', '-', '+2.0')
    """
    return '-' if value is None else f'{value:{"+" if sign else ""}.{digits}f}'


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right.

    Example:
        >>> print(text_table(['a', 'b'], [['one', '1.0'], ['three', '10.0']]))
        a         b
        one     1.0
        three  10.0
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [
        '  '.join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
    return '\n'.join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same in Markdown.

    Example:
        >>> print(markdown_table(['a', 'b'], [['one', '1.0']]))
        | a | b |
        |---|---|
        | one | 1.0 |
    """
    lines = [f'| {" | ".join(row)} |' for row in (header, *rows)]
    return '\n'.join([lines[0], '|' + '---|' * len(header), *lines[1:]])
