"""Programs made of a seed: healthy by the way they are built, or stuck by it.

`tests/healthy` has programs as people write them; here are those that nobody would think of. A program is a tree of steps (`steps`, `tasks`). A step waits
for what it has started itself, and for what is shared (`shared`): locks, pools, servers, in one order, of which whoever uses one uses only later ones
meanwhile, in whatever thread. So somebody can always go on, and all of it comes to its end. In its mirror one step of the tree never ends (`stuck`,
`rings`), so whoever waits for that one is stuck, and the main thread with them.

`child` runs one program in a process under fastlock, `judge` says what is wrong with what was told. In the suite that is tests/test_soak.py, with fixed seeds
and for seconds; by hand, for as long as one likes, from the project's directory:

    python -m tests.soak --minutes 10
"""
