"""A model that `nas` found, as transformers takes it.

The layers are those of the package `search_space` (pip install hybrid-nas): the same mixers and kernels that the search
trained. Shapes: B sequences, T tokens, D width, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from search_space.layouts.layout import Layout
from search_space.model import Sizes, build_model
from search_space.parts.base import Below

from .configuration_nas import NasConfig

CACHE = "cache" if hasattr(CausalLMOutputWithPast, "cache") else "past_key_values"  # its name before transformers 5.24


class LayerStates(Cache):
    """What each layer remembers of the tokens so far, in place of the keys and values that transformers keeps.

    Args:
        states: one for each layer; tensors in them have the batch first.
        tokens: how many they have seen.
    """

    is_croppable = False

    def __init__(self, states: list[dict[str, Any]], tokens: int):
        super().__init__(layers=[])
        self.states, self.tokens = states, tokens

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens so far."""
        return self.tokens

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Gives each beam the states of the beam that it continues."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps the sequences of these indices, in this order."""
        self.states = _mapped(self.states, lambda x: x[indices.to(x.device)])

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each sequence."""
        self.states = _mapped(self.states, lambda x: x.repeat_interleave(repeats, 0))

    def crop(self, tokens_to_remove: int) -> None:
        """Recurrent states cannot forget their last tokens; raises ValueError where that is asked for."""
        if tokens_to_remove:
            raise ValueError("recurrent states cannot be cropped: no assisted decoding")


class NasForCausalLM(PreTrainedModel, GenerationMixin):
    """The model with its language-modelling loss."""

    config_class = NasConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    gradient_checkpointing = False

    def __init__(self, config: NasConfig):
        super().__init__(config)
        sizes = Sizes(
            width=config.hidden_size,
            heads=config.num_attention_heads,
            kv_heads=config.num_key_value_heads,
            mlp_width=config.intermediate_size,
            vocabulary=config.vocab_size,
            tied_embeddings=config.tie_word_embeddings,
        )
        self.model: Any = build_model(Layout.from_dict(config.layout), sizes)
        for module in self.model.modules():
            # `from_pretrained` builds on the meta device, and would leave buffers that are not in the file undefined.
            module._non_persistent_buffers_set.clear()
        first: dict[int, str] = {}
        self._tied_weights_keys = {}  # HGRN and HGRN2 share a table over depth
        for name, parameter in self.named_parameters(remove_duplicate=False):
            source = first.setdefault(id(parameter), name)
            if source != name:
                self._tied_weights_keys[name] = source
        self.post_init()

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Shared parameters, whether or not the embeddings are tied."""
        return dict(self._tied_weights_keys)

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Every part has drawn its own initial values, as its paper has them."""

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding."""
        return self.model.embedding

    def set_input_embeddings(self, value: torch.nn.Module) -> None:
        """Replaces it."""
        self.model.embedding = value

    def get_output_embeddings(self) -> torch.nn.Module | None:
        """The head; None where it is the embedding."""
        return self.model.head

    def set_output_embeddings(self, new_embeddings: torch.nn.Module) -> None:
        """Replaces it."""
        self.model.head = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Cache | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **more: Any,
    ) -> CausalLMOutputWithPast:
        """Logits [B, T, V], the loss where there are labels, and the states where they are asked for.

        Args:
            input_ids: tokens [B, T].
            attention_mask: [B, tokens so far + T]; zeros (padding) only on the right, and then no states.
            position_ids: [B, T], each one more than the last.
            cache: states of the tokens before these.
            past_key_values: the same; its name before transformers 5.24.
            inputs_embeds: [B, T, D] in the place of tokens.
            labels: [B, T]; -100 is not scored. They are shifted here.
            use_cache: whether to return the states; by default as the configuration says, unless it trains.
            logits_to_keep: only the last so many positions; 0 means all.
            more: for the loss, such as num_items_in_batch.

        Raises:
            ValueError: padding on the left, or several texts in one row: the layers would mix them.
        """
        past = past_key_values if cache is None else cache
        states: Any = past.states if isinstance(past, LayerStates) else None
        if states is None and past is not None and past.get_seq_length():
            raise ValueError(f"a {type(past).__name__} with tokens in it; the cache has to come from this model")
        x = self.model.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        padded = x.shape[1] > 1 and _is_padded(attention_mask, position_ids)
        if use_cache is None:
            use_cache = self.config.use_cache and labels is None and not self.training and not padded
        if use_cache and padded:
            raise ValueError("states of padded texts: generate from texts of one length at a time")
        tokens: int = x.shape[1]
        new: list[Any] = []
        known: Any = [None] * len(self.model.layers) if states is None else states
        single = states is not None and tokens == 1
        if single:
            x, input_ids = x[:, 0], None if input_ids is None else input_ids[:, 0]
        below = Below(x, input_ids, self.model.embedding)
        for layer, state in zip(self.model.layers, known, strict=True):
            if single:
                x, state = layer.step(x, state, below)
            elif self.gradient_checkpointing and self.training and not use_cache and not layer.takes_below:
                x, state = self._gradient_checkpointing_func(_output, layer, x), None
            else:
                x, state = layer(x, state, below)  # one that reads of others, or is read, keeps what it computed
            new.append(state)
        x = x[:, None] if single else x[:, -logits_to_keep:]
        logits = self.model.logits(x)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.vocab_size, **more)
        seen = past.get_seq_length() if past is not None else 0
        states_after = LayerStates(new, seen + tokens) if use_cache else None
        return CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: states_after})


def _output(layer: torch.nn.Module, x: Tensor) -> Tensor:
    return layer(x)[0]


def _is_padded(attention_mask: Any, position_ids: Tensor | None) -> bool:
    """Whether there is padding on the right; raises ValueError for what no layer can mask."""
    if position_ids is not None and bool((position_ids.diff(dim=-1) != 1).any()):
        raise ValueError("position_ids that do not count up by one: one text a row, and no padding on the left")
    if attention_mask is None:
        return False
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 2:
        raise ValueError("an attention mask other than [B, T] of zeros and ones")
    kept = attention_mask.bool()
    if bool((~kept[:, :-1] & kept[:, 1:]).any()):
        raise ValueError("padding on the left: set tokenizer.padding_side to right, or generate from single texts")
    return not bool(kept.all())


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """States with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {name: _mapped(inside, change) for name, inside in value.items()}
    return [_mapped(inside, change) for inside in value] if isinstance(value, list) else value
