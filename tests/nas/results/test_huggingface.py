"""The Hugging Face folder, as transformers takes it."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("transformers", reason="transformers is not installed (pip install -e '.[test]')")

from nas.results.export import write_all
from nas.results.exporters import find_exporter
from nas.testing import ExporterContract
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from search_space.mixers import MIXERS

TINY = Target(layers=6, width=32, heads=4, kv_heads=2, mlp_width=48, vocabulary=50)
SIZES = {
    "gated_deltanet": "(heads=2)",
    "sliding_window": "(window=6)",
    "shared_window": "(window=6)",
    "mamba2": "(key_size=8, value_size=16)",
    "rg_lru": "(block_size=8)",
}
ALL = [f"{name}{SIZES.get(name, '')}" for name in MIXERS.names()]
LAYOUTS = {
    "parts": "attention none/swiglu attention/none attention/relu2(ratio=2) gla/geglu gla",
    "tables": "hgrn*2 hgrn2*2 hgrn hgrn2/none",  # which layers share
    **{", ".join(MIXERS.names()[i : i + 6]): " ".join(ALL[i : i + 6]) for i in range(0, len(ALL), 6)},
}
DECAY = "lightning retnet gla lightning retnet gla"


class TestHuggingFace(ExporterContract):
    exporter = "hf"


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory):
    """transformers copies a folder's code before it runs it: not into the user's home."""
    from transformers import dynamic_module_utils

    with pytest.MonkeyPatch.context() as patch:
        place = str(tmp_path_factory.mktemp("modules"))
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", place)
        patch.syspath_prepend(place)
        yield


@pytest.fixture
def build(tmp_path, module_cache):
    """Layout -> the model that transformers builds of the folder."""
    from transformers import AutoConfig, AutoModelForCausalLM

    def built(text, target=TINY):
        folder = tmp_path / "model"
        write_all(find_exporter("hf")(Layout.parse(text), target), folder)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        return AutoModelForCausalLM.from_config(config, trust_remote_code=True)

    torch.manual_seed(0)
    return built


def tokens(*shape):
    return torch.randint(0, TINY.vocabulary, shape)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
def test_parameters_and_training(build, text, tied):
    target = replace(TINY, tied_embeddings=tied)
    model = build(text, target)
    assert sum(p.numel() for p in model.parameters()) == cost(Layout.parse(text), target).parameters
    x = tokens(2, 9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x, labels=x).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and all(map(math.isfinite, losses))
    model.eval()
    logits = model(x).logits
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    assert_close(model(x, labels=x).loss, expected)


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS)
def test_cached_logits_are_those_of_the_whole(build, text):
    model, x = build(text).eval(), tokens(2, 14)
    with torch.no_grad():
        whole = model(x, use_cache=False).logits
        out = model(x[:, :5], use_cache=True)  # a prompt, more of it, then token by token
        found = [out.logits]
        for begin, end in [(5, 8), *((i, i + 1) for i in range(8, 14))]:
            out = model(x[:, begin:end], cache=out.cache, use_cache=True)
            found.append(out.logits)
    assert_close(torch.cat(found, 1), whole, atol=1e-4, rtol=1e-4)
    assert out.cache.get_seq_length() == 14


@pytest.mark.parametrize("more", [{}, {"num_beams": 3}, {"cache_implementation": "offloaded"}], ids=str)
def test_generation_with_and_without_states(build, more):
    model, x = build("hgrn2 attention retnet short_conv parallel sliding_window(window=4)").eval(), tokens(2, 5)
    options = {"max_new_tokens": 8, "do_sample": False}
    whole = model.generate(x, **options, use_cache=False, **{k: v for k, v in more.items() if k == "num_beams"})
    assert model.generate(x, **options, **more).tolist() == whole.tolist()


@pytest.mark.parametrize("text", [LAYOUTS["tables"], DECAY], ids=["tables", "decay"])
def test_saved_and_loaded(build, text, tmp_path):
    from transformers import AutoModelForCausalLM

    model, x = build(text).eval(), tokens(1, 9)
    model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", trust_remote_code=True).eval()
    with torch.no_grad():
        assert_close(loaded(x).logits, model(x).logits, atol=0, rtol=0)
    assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in model.parameters())
    assert dict(loaded.named_buffers()).keys() == dict(model.named_buffers()).keys()


def test_padding_is_exact_or_refused(build):
    model, x = build("gla attention").eval(), tokens(2, 8)
    mask = torch.ones_like(x)
    mask[1, 5:] = 0
    with torch.no_grad():
        assert_close(model(x, attention_mask=mask).logits[1, :5], model(x[1:, :5]).logits[0])
    with pytest.raises(ValueError, match="one length"):
        model(x, attention_mask=mask, use_cache=True)
    with pytest.raises(ValueError, match="on the left"):
        model(x, attention_mask=mask.flip(1))
    with pytest.raises(ValueError, match="one text a row"):
        model(x, position_ids=torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]] * 2))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_trainer_trains_it(build, tmp_path, checkpointing):
    pytest.importorskip("accelerate", reason="accelerate is not installed (pip install -e '.[test]')")
    from transformers import Trainer, TrainingArguments

    model, x = build("gla hgrn2 attention"), tokens(4, 12)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=3, learning_rate=1e-2, per_device_train_batch_size=2,
        report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", gradient_checkpointing=checkpointing,
    )  # fmt: skip
    done = Trainer(model=model, args=arguments, train_dataset=[{"input_ids": row, "labels": row} for row in x]).train()
    assert done.global_step == 3 and math.isfinite(done.training_loss)
    assert all(not torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_checkpoints_of_gradients_change_none(build):
    """Layers that read of others, and those that are read, are run as they are."""
    text = "gla attention shared_attention gla attention(keys_from=embedding) shared_attention"
    model, x = build(text).train(), tokens(2, 9)
    found = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        model(x, labels=x).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()})
    assert_close(found[1], found[0])


def test_at_its_real_size_it_has_the_parameters_of_the_cost_model(build):
    target = Target()
    with torch.device("meta"):
        model = build("gated_deltanet*5 hgrn2", target)
    assert sum(p.numel() for p in model.parameters()) == cost(Layout.parse("gated_deltanet*5 hgrn2"), target).parameters


def test_the_folder_says_what_it_is():
    made = find_exporter("hf")(Layout.parse("gla*2 attention"), replace(TINY, layers=12))
    config = json.loads(made["config.json"])
    assert set(made) == {"config.json", "configuration_nas.py", "modeling_nas.py", "README.md"}
    assert Layout.from_dict(config["layout"]) == Layout.parse("gla*8 attention*4")
    assert "12 layers from 3: stretched" in made["README.md"].lower() and "| 8 to 11 | attention |" in made["README.md"]
