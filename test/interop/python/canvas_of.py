"""Canvases from data, by the operators that a user has: the same data as node/canvas-of.mjs reads."""

from celery import chain, chord, group


def canvas_of(app, given):
    """{"task", "args", "immutable"}, {"chain": [..]}, {"group": [..]} or {"chord": [..], "body"}, each with "options", "link", "link_error" and "stamp"."""

    def each(name):
        return [canvas_of(app, one) for one in given[name]]

    if "chain" in given:
        sig = chain(*each("chain"))
    elif "group" in given:
        sig = group(each("group"))
    elif "chord" in given:
        sig = chord(each("chord"), canvas_of(app, given["body"]))
    else:
        sig = app.signature(given["task"], args=tuple(given.get("args", ())), immutable=given.get("immutable", False))
    if given.get("options"):
        sig = sig.set(**given["options"])
    for callback in given.get("link", ()):
        sig.link(canvas_of(app, callback))
    for errback in given.get("link_error", ()):
        sig.link_error(canvas_of(app, errback))
    if given.get("stamp"):
        sig.stamp(**given["stamp"])
    return sig
