"""`linkstatus web`: the edge and the board in one process on one port, as `up` runs them."""

from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware

from connectors import board, process, receive


async def run_web(edge_config: receive.EdgeConfig, board_config: board.BoardConfig) -> None:
    """Both, at the edge's address, until a signal ends them."""
    shown = board.open_board(board_config)
    async with receive.opened(edge_config) as (edge, publisher):
        probes = process.probes(lambda: publisher.why_not_ready() or shown.why_not())
        app = Starlette(
            routes=[*receive.routes(edge), *probes, *board.routes(shown)],
            middleware=[Middleware(board.SecurityHeaders)],
        )
        server = process.http_server(receive.in_front(edge, app), edge_config.address)
        end_streams = partial(shown.end_streams, server)
        await process.run(server, [publisher.run, shown.follow, end_streams])
