"""`linkstatus dead-letters aside` and `open`: junk needs nobody, until somebody takes it back."""

from typing import TYPE_CHECKING

import typer

from streams.cli.choosing import By, DryRun, Json, Note, Yes, choosing, counted, tell

if TYPE_CHECKING:
    from connectors.letters.letter import Wanted


def add_to(dead_letters: typer.Typer) -> None:
    dead_letters.command()(aside)
    dead_letters.command("open")(reopen)


@choosing
def aside(
    wanted: "Wanted",
    note: Note = "",
    by: By = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Sets dead letters aside: junk that no replay will ever cure, such as forged bodies.

    They need nobody any more and are left out of replays, unless one is named. Who, when and the
    note are kept on the topic `notices`. Says how many there are, and asks first, unless each is
    named.

        linkstatus dead-letters aside --reason "no JSON" --note "a scanner" --dry-run
    """
    _mark(wanted, done=True, by=by, note=note, dry_run=dry_run, yes=yes, json=json)


@choosing
def reopen(
    wanted: "Wanted",
    note: Note = "",
    by: By = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Takes back that dead letters were set aside: they are to be seen to again."""
    _mark(wanted, done=False, by=by, note=note, dry_run=dry_run, yes=yes, json=json)


def _mark(
    wanted: "Wanted", *, done: bool, by: str, note: str, dry_run: bool, yes: bool, json: bool
) -> None:
    """Those that are open are set aside, or the other way round."""
    from connectors.clock import micros_now
    from connectors.letters import dealt, reading
    from connectors.noting import Mark
    from streams import running, schema_ids
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json, say, somebody

    settings = running.settings()
    schema_ids.prepare(settings)
    cluster = settings.cluster()
    known = dealt.read(cluster)
    found = {one.name: one for one in reading.letters(cluster, wanted)}
    fits = known.is_open if done else known.mark_of
    letters = [one for one in found.values() if fits(one)]
    what = "set aside" if done else "open again"
    tell(letters, "no dead letter is open" if done else "no dead letter is set aside")
    marked = 0
    if letters and not dry_run:
        if not (wanted.places or yes):
            question = f"set {len(letters)} aside?" if done else f"open {len(letters)} again?"
            typer.confirm(question, abort=True, err=True)
        dealt.say(cluster, letters, Mark(done, by or somebody(), micros_now(), note))
        marked = len(letters)
        say(f"{marked} {what}")
    if json:
        print(as_json(counted(letters, marked=marked)))
    if wanted.places and (left := len(found) - len(letters)):
        raise Failed(f"{left} of these are not {'open' if done else 'set aside'}")
