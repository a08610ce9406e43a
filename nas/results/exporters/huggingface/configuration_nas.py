"""The configuration of a model that `nas` found, as transformers takes it."""

from typing import Any

from transformers import PretrainedConfig


class NasConfig(PretrainedConfig):
    """Sizes under the names that transformers has for them, and the layout.

    Args:
        layout: named blocks, and a list of block names, one for each layer, as `search_space` reads it.
        vocab_size: tokens in the vocabulary.
        hidden_size: width of the model.
        num_attention_heads: query heads of the attention layers.
        num_key_value_heads: key-value heads of the attention layers.
        intermediate_size: hidden width of channel mixers that state no ratio.
        tie_word_embeddings: whether input embedding and head are one matrix.
        use_cache: whether forward returns the states of the layers, unless it trains.
        more: what else transformers keeps, such as eos_token_id.
    """

    model_type = "nas_hybrid"
    keys_to_ignore_at_inference = ["cache", "past_key_values"]

    def __init__(
        self,
        layout: dict[str, Any] | None = None,
        vocab_size: int = 32_000,
        hidden_size: int = 2048,
        num_attention_heads: int = 32,
        num_key_value_heads: int = 32,
        intermediate_size: int = 5632,
        tie_word_embeddings: bool = False,
        use_cache: bool = True,
        **more: Any,
    ):
        self.layout = {"layers": ["attention"]} if layout is None else layout
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.intermediate_size = intermediate_size
        self.use_cache = use_cache
        more["num_hidden_layers"] = len(self.layout["layers"])
        super().__init__(tie_word_embeddings=tie_word_embeddings, **more)
