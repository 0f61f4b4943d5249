"""An exception of a user's own, which both languages know by its module and name."""


class CardDeclined(Exception):
    """The card was declined."""


class Desk:
    class Closed(Exception):
        """A nested class: its qualified name has a dot."""
