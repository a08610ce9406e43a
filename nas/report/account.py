"""Sections of a page about the search itself: what it cost, how to repeat it, what it can tell."""

import re
from collections.abc import Sequence
from html import escape

from nas.config import Config
from nas.report.markup import definitions
from nas.results.known import Known
from nas.results.records import RunRecord
from nas.results.trials import Trial, seed_spreads
from nas.version import VERSION
from search_space.space.space import Space

PASSWORD = re.compile(r"//[^/@\s]+@")
"""User and password in an address."""


def cost_section(trials: Sequence[Trial], records: Sequence[RunRecord], space: Space | None, config: Config) -> str:
    """What the search took."""
    seconds = [r.result.seconds for r in records if r.result is not None]
    lost = sum(r.lost for r in records)
    states = {state: sum(t.state == state for t in trials) for state in ("complete", "diverged", "failed")}
    published = sum(t.origin is not None for t in trials)
    others = "".join(f", {count} {state}" for state, count in states.items() if count and state != "complete")
    elapsed = records[-1].elapsed if records else 0.0
    proposed = f"{len(trials) - published} by {config.search.sampler}"
    pairs = {
        "time": f"{_duration(elapsed)} of search, {_duration(sum(seconds))} of training",
        "layouts": f"{len(trials)}: {published} published, {proposed}{others}",
        "runs": f"{len(records)}, one for each seed of a layout{f'; {lost} were lost and tried again' * bool(lost)}",
    }
    if seconds:
        mean = sum(seconds) / len(seconds)
        pairs["a run"] = f"{mean:.3g} s on average, {min(seconds):.3g} to {max(seconds):.3g} s"
    if space is not None:
        pairs["space"] = f"{_large(space.size)} layouts of {config.space.layers} layers, {len(space.blocks)} blocks"
    return definitions({name: escape(text) for name, text in pairs.items()})


def repeat_section(config: Config) -> str:
    """The settings, and the command that repeats the search."""
    return (
        "<p>Save these settings as <code>config.yaml</code>; <code>nas search --config config.yaml</code> searches "
        "again with them. In the local pool and with a budget of trials it finds the same; runs that are spread over "
        "workers end in another order.</p>"
        f'<details><summary>All settings (nas {escape(VERSION)})</summary><pre id="settings">'
        f"{escape(settings_text(config))}</pre></details>"
        '<p><button type="button" class="copy" data-from="settings">copy settings</button></p>'
    )


def limits_section(trials: Sequence[Trial], config: Config, audit: str | None, known: Known | None) -> str:
    """What the figures of the page mean, and what they do not say.

    Args:
        trials: of the search.
        config: of the search.
        audit: what `nas audit` found, in a line; None where there was none.
        known: agreement with published models that is on record for these proxies.
    """
    target, training, proxy = config.target, config.training, config.proxy
    how = "a roofline: no program reaches it, and some come closer than others"
    if target.measured is not None:
        how = f"times of its parts that were measured on {target.measured.about['device']}"
    lines = [
        f"<b>Cost</b> is that of the target ({escape(target.description)}), computed from {escape(how)}.",
        f"<b>What training tells</b> was measured on proxies: {config.space.layers} layers of width {proxy.width} "
        f"({proxy.heads} heads), {training.steps:,} steps on sequences of {training.length} tokens. They are the "
        "target scaled down by one rule; they say in which order layouts may stand, and not what a full model scores.",
        "A layout that the search proposed was trained at the proxies' depth and is shown, priced and exported at the "
        "target's, where its pattern is repeated or it is stretched.",
        "<b>Confidence</b> is the chance that a layout belongs on the front of these proxies, as seeds differ. It says "
        "nothing of how well proxies stand for models.",
    ]
    if spreads := seed_spreads(trials, config.search.objectives):
        lines.append(f"Seeds of one layout differ by {escape(', '.join(spreads))} (standard deviation): less is a tie.")
    lines.append(
        f"<b>Checked by longer training:</b> {escape(audit)}"
        if audit
        else "<b>No audit</b> has been made: <code>nas audit DIR</code> trains some layouts again with fresh seeds, "
        "longer, and says whether they rank as they do here."
    )
    lines.append(
        f"<b>Agreement with published models:</b> {escape(known.line)}. Docs: fidelity.md."
        if known
        else "<b>Agreement with published models</b> is not on record for these proxies: <code>nas fidelity --config "
        "DIR/config.yaml</code> trains what the literature compared by them, and says how much of it they order alike."
    )
    return "<ul>" + "".join(f"<li>{line}</li>" for line in lines) + "</ul>"


def settings_text(config: Config) -> str:
    """The settings as YAML that can be handed on: without users and passwords in addresses."""
    return PASSWORD.sub("//***@", config.to_yaml())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _large(count: int) -> str:
    return f"{count:,}" if count < 10**9 else f"{float(count):.1e}" if count < 10**300 else "more than 1e300"
