"""What the resets that runs have saved say about localization.

localization  the resets, and what is computed from them: pure functions
tables        the figures as text and CSV
plots         the picture
command       `resetrl analyze localization`
"""
