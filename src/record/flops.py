"""What training costs in floating-point operations: a model's size, and 2 of them per parameter and token of a pass.

The usual count (Kaplan et al. 2020, arXiv 2001.08361, section 2.1): a forward pass takes 2 · N, the backward pass twice
that, so training takes 6 · N a token; attention over the context, the optimiser and padding are left out. N is the number
of parameters without embeddings. With LoRA the weights' own gradients are spared, which is not deducted.
"""

from collections.abc import Mapping
from dataclasses import dataclass

FORWARD = 2  # operations per parameter and token
TRAINING = 6  # forward and backward
# Operations per parameter and token of each kind of pass. old_policy: log-probabilities of the policy that sampled, where
# a batch serves several updates; reference: those of the reference model, for the KL term.
PASSES = {"training": TRAINING, "generation": FORWARD, "old_policy": FORWARD, "reference": FORWARD}


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a model."""

    parameters: int  # all of them
    embeddings: int  # of these: the input embedding, and the output layer where it is a matrix of its own

    @property
    def without_embeddings(self) -> int:
        return self.parameters - self.embeddings


def size_of(model) -> ParameterCount:
    """The size of a transformers model, on whatever device, `meta` included; shared weights are counted once."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    embeddings = {id(p): _count(p) for layer in ends if layer is not None for p in layer.parameters()}
    return ParameterCount(sum(map(_count, model.parameters())), sum(embeddings.values()))


def _count(parameter) -> int:
    return getattr(parameter, "ds_numel", parameter.numel())  # DeepSpeed's stage 3 leaves an empty tensor in place


def flops(size: ParameterCount, tokens: Mapping[str, int]) -> dict[str, float]:
    """Operations of each kind of pass, and their `total`. `tokens` went through each kind, padding not counted."""
    counts = {kind: float(each * size.without_embeddings * tokens.get(kind, 0)) for kind, each in PASSES.items()}
    return counts | {"total": sum(counts.values())}
