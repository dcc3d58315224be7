# Nothing here has a name in Python: the other extension modules import it in C.
