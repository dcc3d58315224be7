"""Healthy programs: each waits in some way that people really use, comes to its right result, and nobody in it is ever stuck.

fastlock must not say otherwise. `programs` has what a program is made of, the modules named in THEMES have the programs, one function each;
`child` runs some of them in a process under fastlock, `runs` starts such processes and judges what was found. In the suite
that is tests/test_healthy.py, with fixed seeds and for seconds; by hand, for as long as one likes, from the project's directory:

    python -m tests.healthy --minutes 5
"""
