"""The events that a person reads, as sentences."""

from __future__ import annotations

from antiphon_edge.view import events
from antiphon_edge.view.losses import sentence


def line(event: events.Event) -> str | None:
    """The sentence for an event; None for what the person hears or reads anyway."""
    match event:
        case events.Listening(microphone=microphone):
            return None if microphone is None else "listening; Ctrl-C ends the conversation"
        case events.Muted(muted=muted):
            return "muted: the model does not hear you" if muted else "the model hears you"
        case events.Device(message=message):
            return message
        case events.Reconnecting(reason=reason):
            return f"reconnecting: {reason}"
        case events.Resumed(address=address, after_s=after_s):
            return f"the conversation goes on at {address} after {after_s:.1f} s"
        case events.Ending(in_s=in_s):
            return f"the worker ends the conversation in {in_s:.0f} s"
        case events.Said(text=text):
            return f"you: {text}"
        case events.Transcriber(state="lost", reason=reason):
            return f"your words are not written down: {reason}"
        case events.Transcriber(state="back"):
            return "your words are written down again"
        case events.Lost():
            return f"lost: {sentence(event)}"
        case events.Slow(slow=True, lag_s=lag_s):
            return f"replies are {lag_s:.1f} s late: the worker or the network is overloaded"
        case events.Slow():
            return "replies come in time again"
        case events.Ended():
            return _summary(event)
    return None


def _summary(ended: events.Ended) -> str | None:
    late = f"replies up to {ended.longest_lag_s:.1f} s late" if ended.longest_lag_s >= events.SLOW_S else ""
    words = ", ".join(filter(None, (sentence(ended.lost), late)))
    return f"lost in all: {words}" if words else None
