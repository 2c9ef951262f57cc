"""`resetrl show`: one prompt's reset tree in the terminal or as one HTML file.

`find` chooses run, step and prompt; `view` says everything that is shown of it, once; `tree`
draws that with rich and `html` with a template.
"""
