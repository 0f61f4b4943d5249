class CardDeclined(Exception):
    """Known to both languages by its module and name."""
