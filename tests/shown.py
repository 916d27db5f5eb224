"""What people see of a table, as a frame."""

import pandas as pd
import pytest

from joulelab.present import Unavailable


def seen(table):
    """The cells as text, under their headings."""
    rows = [[cell.text for cell in row] for row in table.cells()]
    return pd.DataFrame(rows, columns=table.headings())


def bold(table):
    """Row and heading of every cell that stands out."""
    headings = table.headings()
    return {
        (number, headings[at])
        for number, row in enumerate(table.cells())
        for at, cell in enumerate(row)
        if cell.bold
    }


def reason(make, subject):
    """Why something cannot be made."""
    with pytest.raises(Unavailable) as why:
        make(subject)
    return why.value.reason
