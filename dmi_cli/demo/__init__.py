"""`dmi demo`: the main job on embedded defaults, as processes anybody can look into."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from dmi.errors import DmiError
from dmi.lifecycle import stopped_by_signals
from dmi_cli.demo.plot import PLOTS
from dmi_cli.demo.snapshot import Node
from dmi_cli.demo.stage import Stage
from dmi_cli.demo.story import Story
from dmi_cli.demo.view import View

__all__ = ["run"]

LOOK_SECONDS = 3.0


def run(args: argparse.Namespace) -> int:
    """Run the demo; 0 only if every step of the story held.

    Args:
        args: `seconds` (None: until Ctrl-C), `json`, `protocol`, `keep` (a folder to leave behind).
    """
    with _scratch(args.keep) as scratch:
        story = asyncio.run(_run(args, scratch))
    if args.json:
        sys.stdout.write(json.dumps(story.summary.report()) + "\n")
    return 0 if story.summary.held else 1


@contextmanager
def _scratch(keep: str | None) -> Iterator[Path]:
    """A private folder with a short path: Unix socket paths end at 107 bytes."""
    folder = Path(keep).absolute() if keep else Path(tempfile.mkdtemp(prefix="dmi-"))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)


async def _run(args: argparse.Namespace, scratch: Path) -> Story:
    stop = asyncio.Event()
    async with httpx.AsyncClient(trust_env=False) as http:
        node = Node(http)
        live = sys.stdout.isatty() and not args.json
        view = View(live=live, latest=lambda: node.latest)
        plots = tuple(PLOTS.values()) if args.protocol == "all" else (PLOTS[args.protocol],)
        stage = Stage(plots, scratch, node, view)
        story = Story(plots, node, view, stage, pace=LOOK_SECONDS if live else 0)
        with stopped_by_signals(stop), view.shown():
            async with asyncio.TaskGroup() as group:
                told = asyncio.Event()
                teller = group.create_task(_tell(stage, story, group, told))
                watcher = group.create_task(node.watch())
                try:
                    await _until_end(stop, told, args.seconds)
                    teller.cancel()
                    await story.finish()
                finally:
                    watcher.cancel()
                    await stage.tear_down()
    return story


async def _tell(stage: Stage, story: Story, group: asyncio.TaskGroup, told: asyncio.Event) -> None:
    try:
        async with story.step("started", "the processes start") as detail:
            await stage.build(group)
            detail.append(", ".join(stage.programs))
        await story.tell()
    except DmiError:
        pass  # the step that failed has it in the summary, and shows it
    finally:
        told.set()


async def _until_end(stop: asyncio.Event, told: asyncio.Event, seconds: float | None) -> None:
    """Return when asked to stop, or after `seconds` and not before the story has been told."""
    waits = {stop.wait()} if seconds is None else {stop.wait(), _both(told, seconds)}
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _both(told: asyncio.Event, seconds: float) -> None:
    await asyncio.gather(told.wait(), asyncio.sleep(seconds))
