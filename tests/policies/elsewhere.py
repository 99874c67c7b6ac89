"""A pretend device: its tensors say that they are not on the CPU, compute there all the same, and refuse to meet those that are.

What runs inside ``Elsewhere()`` as on the CPU has put every tensor where it belongs, as a GPU would ask of it. As with CUDA,
tensors of no dimension may meet any other, and indices may lie on the CPU. It calls itself ``meta``: another device than
``cpu`` that every build of torch has, autograd included.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE = torch.device("meta")
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._unsafe_index.Tensor)


class There(torch.Tensor):
    """A tensor of the pretend device; ``inner`` holds its numbers."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        layout = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, inner.shape, device=DEVICE, **layout)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return compute(function, args, kwargs or {})


def compute(function, args, kwargs):
    """What ``function`` gives, on the device where its tensors are (or that it names)."""
    if function is aten._fused_sdp_choice.default:
        return 0  # the kernel that every device has
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = any(isinstance(x, There) for x in tensors)
    tied = tree_leaves((args[0], args[2:])) if function in INDEXED and isinstance(args[0], There) else tensors
    if there and function not in COPIES and any(isinstance(x, torch.Tensor) and x.dim() and not isinstance(x, There) for x in tied):
        raise RuntimeError(f"{function}: tensors on two devices")
    if (device := kwargs.get("device")) is not None:
        there = torch.device(device).type == DEVICE.type
        kwargs = {**kwargs, "device": "cpu"}
    known = {id(x.inner): x for x in tensors if isinstance(x, There)}  # what is written in place stays the same tensor
    found = function(*tree_map_only(There, numbers, args), **tree_map_only(There, numbers, kwargs))
    return tree_map_only(torch.Tensor, lambda x: known[id(x)] if id(x) in known else There(x), found) if there else found


def numbers(x):
    return x.inner


class Placed(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return compute(function, args, kwargs or {})


class Elsewhere(TorchFunctionMode):
    """Inside, the pretend device exists."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is torch.tensor and kwargs.get("device") is not None:  # would be made below the reach of a dispatch mode
            device = kwargs.pop("device")
            return torch.tensor(*args, **kwargs).to(device)
        if function is torch.Tensor.new_tensor and isinstance(args[0], There):  # and so would this
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(DEVICE)
        if function is torch.Tensor.tolist and isinstance(args[0], There):  # refused to subclasses
            return args[0].inner.tolist()
        return function(*args, **kwargs)

    def __enter__(self):
        self._placed = Placed()
        self._placed.__enter__()
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._placed.__exit__(*error)
