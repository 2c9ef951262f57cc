"""What runs on the other side: nothing here is trusted with more than a program and its inputs.

Reading order: `launcher` (one a worker) forks `supervisor` (one a program), which forks `program`
(one a test). `folders` says what they see of the file system, `calls` which system calls a
program may make, `kernel` makes the Linux calls that Python lacks. Only the standard library is
imported, because these modules run in the base interpreter, without the environment's packages.
"""
