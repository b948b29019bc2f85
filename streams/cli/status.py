"""`linkstatus status`: the life of one link."""

from typing import Annotated
from urllib.parse import quote

import typer

from streams.cli import tables, timeline
from streams.cli.arguments import Provider
from streams.cli.board_client import Board, unknown_link
from streams.cli.terminal import print_json


def status(
    provider: Provider,
    link_id: Annotated[str, typer.Argument(help="The provider's id of the link.")],
    json: Annotated[
        bool, typer.Option("--json", help="The board's answer, with its `order`, on one line.")
    ] = False,
) -> None:
    """Draw a link's life, from the first event to its settlement.

    Each line: when we received it, how long after the first, the status, its source, the
    provider's words. `>` marks a line that raised the status. A `verified` event has a valid
    signature or comes from the provider's own API; a `claim` has neither.

        linkstatus status ping a25cdd3b-f95f-4861-87e4-1ca0a6be748e
    """
    with Board() as board:
        link = board.get(f"/links/{provider}/{quote(link_id, safe='')}")
        if link is None:
            raise unknown_link(provider, link_id)
        order = None
        if timeline.is_in_order(link):
            order = board.get(f"/orders/{provider}/{quote(link['order_id'], safe='')}")
    if json:
        print_json({**link, "order": order})
    else:
        tables.console().print(timeline.draw(link, order))
