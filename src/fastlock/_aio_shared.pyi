from typing import final

from typing_extensions import disjoint_base

from fastlock._aio import Primitive

@final
class Holders: ...

@disjoint_base
class SharedPrimitive(Primitive): ...
