"""Tasks made of published data sets: one data file each, no code.

manifest       what a data file in manifests/ says: where the rows are and what becomes of them
source         rows from the Hugging Face hub, or from a folder with the same files
problems       from rows to problems: filter, fields, duplicates, division, hash
livecodebench  the test cases of LiveCodeBench, decoded without trusting them
task           the component `hub` and, under its own name, every shipped data set
command        `resetrl task pin`
"""
