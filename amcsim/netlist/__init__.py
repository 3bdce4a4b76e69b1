"""A topology's elements as SPICE text and as a PySpice Circuit; library text is inlined, never included.

Public are the names in `__all__` of deck.
"""
