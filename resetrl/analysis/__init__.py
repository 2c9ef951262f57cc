"""What resets say about localization: those that runs have saved, or fresh ones of one policy.

localization  the resets, and what is computed from them: pure functions
tables        the figures as text and CSV
plots         the picture
report        both, printed and written
config        the options of fresh resets; fresh makes them, fresh_session is the command's way
command       `resetrl analyze localization`
"""
