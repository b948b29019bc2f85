"""The rows behind a figure of the money. Blocking: call them in a thread."""

import json
from typing import NamedTuple

from sqlalchemy import Table, select, tuple_

from connectors.board.database import paging
from connectors.board.database import tables as t
from connectors.board.database.figures import Measure
from connectors.board.database.ledger import COUNTED
from connectors.board.database.money import stored_currency
from connectors.board.database.paging import Cursor, Filters, Page, begins
from connectors.board.database.projection import storable
from connectors.board.database.store import Store


class Counts(NamedTuple):
    """What a row counts as, in a currency, if one is given."""

    measure: Measure
    currency: str | None = None


def search(
    store: Store,
    table: Table,
    counts: Counts,
    filters: Filters,
    limit: int,
    after: Cursor | None = None,
    prefix: str = "",
) -> Page:
    """Return the rows of links or orders behind a figure, those first that count latest. `since`
    and `until` of the filters are of that time. With `prefix`, only ids that begin with it.
    """
    c, name = t.counted_rows.c, table.c[COUNTED[table]]
    position = c.at, c.provider, c.name
    conditions = [c.measure == counts.measure, *paging.filtered(table, filters, c.at)]
    if counts.currency:
        conditions.append(c.currency == stored_currency(counts.currency))
    if prefix:
        conditions.append(begins(c.name, prefix))
    if after is not None:
        conditions.append(tuple_(*position) < tuple(map(storable, after)))
    query = (
        select(table.c.record, *position)
        .join(t.counted_rows, (table.c.provider == c.provider) & (name == c.name))
        .where(*conditions)
        .order_by(*(column.desc() for column in position))
        .limit(limit + 1)
    )
    with store.reading() as connection:
        found = connection.execute(query).all()
    # A row may count twice: with two refunds, or in two currencies.
    rows = {(provider, one): record for record, _, provider, one in found[:limit]}
    records = [json.loads(record) for record in rows.values()]
    return Page(records, paging.following(found, limit, 1))
