"""The Triton kernels against flash-linear-attention's and torch's, on a GPU.

    python -m tests.benchmarks.kernels.gpu [--only REGEX] [--wheels FOLDER] [--out FOLDER]

Needs torch, triton and the peer: installed (`pip install -e '.[test]'`), or as wheels of fla-core and einops in FOLDER.
Every finished row is kept in FOLDER/kernels_<device>.json, so a run that was cut off, or one with --only, adds to what
is there; the table beside it is made of all rows.
"""

import argparse
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv1d, logsigmoid, normalize, pad, scaled_dot_product_attention

import kernels

RESULTS = Path(__file__).parents[1] / "results"
TOKENS = 32768
LENGTHS = (512, 2048, 8192, 32768)
DECODED = 64
"""Sequences of a decode step."""
CHUNK = 64
WINDOW = 512
DEVICE, DTYPE = "cuda", torch.bfloat16
Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Work:
    """What an operator has to do for one token (decode: for one sequence): FLOPs, and bytes in and out, each once."""

    flops: float
    traffic: float

    def milliseconds(self, count: int, flops: float, bandwidth: float) -> float:
        """The roofline's time for `count` tokens at these rates."""
        return 1e3 * count * max(self.flops / flops, self.traffic / bandwidth)


@dataclass(frozen=True)
class Case:
    """An operator at the sizes of a study's model.

    Args:
        draw: makes bf16 inputs for (sequences, tokens); those of a decode step have no tokens.
        ours, peer, plain: output from inputs; our kernels, flash-linear-attention's, and torch's own.
        work: for a sequence of so many tokens (decode: so many cached ones), per token.
    """

    name: str
    model: str
    kind: str
    draw: Callable[[int, int], Inputs]
    ours: Callable[[Inputs], Tensor]
    peer: Callable[[Inputs], Tensor] | None
    plain: Callable[[Inputs], Tensor] | None
    work: Callable[[int], Work]


def random(*shape: int, unit: bool = False) -> Tensor:
    """Normal numbers, or vectors of length 1."""
    x = torch.randn(*shape, device=DEVICE)
    return (normalize(x, dim=-1) if unit else x).to(DTYPE)


def decay(*shape: int, rate: float) -> Tensor:
    """Log decays, as gates of the mixers give at their start, of mean about -rate."""
    return logsigmoid(torch.randn(*shape, device=DEVICE)) * (rate / 0.8)


def linear(name: str, model: str, heads: int, keys: int, values: int, by: str, rate: float) -> list[Case]:
    """Decayed linear attention: whole sequences and a step; `by` is fixed, scalar or vector."""
    import fla.ops as fla

    fixed = torch.log1p(-(2.0 ** (-5 - torch.arange(heads, dtype=torch.float32))))

    def draw(batch: int, *length: int) -> Inputs:
        inputs = {n: random(batch, *length, heads, size) for n, size in zip("qkv", (keys, keys, values), strict=True)}
        if by == "vector":
            inputs["a"] = decay(batch, *length, heads, keys, rate=rate).to(DTYPE)
        if by == "scalar":
            inputs["a"] = decay(batch, *length, heads, rate=rate)
        return inputs

    def draw_step(batch: int, _: int) -> Inputs:
        return draw(batch) | {"state": torch.randn(batch, heads, keys, values, device=DEVICE)}

    def ours(x: Inputs) -> Tensor:
        return kernels.linear_attention(x["q"], x["k"], x["v"], x.get("a", fixed.to(x["q"].device)))[0]

    def ours_step(x: Inputs) -> Tensor:
        log_decay = x.get("a", fixed.to(x["q"].device))
        return kernels.linear_attention_step(x["q"], x["k"], x["v"], log_decay, x["state"])[0]

    def peer(x: Inputs) -> Tensor:
        if by == "vector":
            return fla.chunk_gla(x["q"], x["k"], x["v"], g=x["a"])[0]
        if by == "scalar":
            return fla.chunk_simple_gla(x["q"], x["k"], x["v"], g=x["a"])[0]
        return fla.chunk_retention(x["q"], x["k"], x["v"])[0]

    def peer_step(x: Inputs) -> Tensor:
        q, k, v = (x[n][:, None] for n in "qkv")
        options = {"initial_state": x["state"], "output_final_state": True}
        if by == "vector":
            return fla.fused_recurrent_gla(q, k, v, gk=x["a"][:, None], **options)[0]
        if by == "scalar":
            return fla.fused_recurrent_simple_gla(q, k, v, g=x["a"][:, None], **options)[0]
        return fla.fused_recurrent_retention(q, k, v, **options)[0]

    decays = {"fixed": 0, "scalar": 4, "vector": 2 * keys}[by]  # bytes
    io = heads * (2 * (2 * keys + 2 * values) + decays)
    core = heads * (4 * keys * values + 2 * CHUNK * (keys + values) / 2)
    both = Work(4 * core, io + heads * (2 * (4 * keys + 3 * values) + 2 * decays))
    step = Work(6.0 * heads * keys * values, heads * 8 * keys * values + io)
    return [
        Case(name, model, "forward", draw, ours, peer, None, lambda _: Work(core, io)),
        Case(name, model, "both", draw, ours, peer, None, lambda _: both),
        Case(name, model, "decode", draw_step, ours_step, peer_step, None, lambda _: step),
    ]


def delta(name: str, model: str, heads: int, keys: int, values: int, by: str | None) -> list[Case]:
    """The delta rule: whole sequences and a step; `by` is scalar, vector or None, which is without decay."""
    import fla.ops as fla
    from fla.ops.kda import chunk_kda, fused_recurrent_kda

    def draw(batch: int, *length: int) -> Inputs:
        inputs = {
            "q": random(batch, *length, heads, keys, unit=True),
            "k": random(batch, *length, heads, keys, unit=True),
            "v": random(batch, *length, heads, values),
            "beta": random(batch, *length, heads).sigmoid(),
        }
        shape = (batch, *length, heads, *((keys,) if by == "vector" else ()))
        return inputs | ({"a": decay(*shape, rate=0.05)} if by else {})

    def draw_step(batch: int, _: int) -> Inputs:
        return draw(batch) | {"state": torch.randn(batch, heads, keys, values, device=DEVICE)}

    def ours(x: Inputs) -> Tensor:
        return kernels.delta_rule(x["q"], x["k"], x["v"], x["beta"], x.get("a"))[0]

    def ours_step(x: Inputs) -> Tensor:
        return kernels.delta_rule_step(x["q"], x["k"], x["v"], x["beta"], x.get("a"), x["state"])[0]

    def peer(x: Inputs) -> Tensor:
        if by == "vector":
            return chunk_kda(x["q"], x["k"], x["v"], x["a"], x["beta"])[0]
        if by == "scalar":
            return fla.chunk_gated_delta_rule(x["q"], x["k"], x["v"], g=x["a"], beta=x["beta"])[0]
        return fla.chunk_delta_rule(x["q"], x["k"], x["v"], x["beta"])[0]

    def peer_step(x: Inputs) -> Tensor:
        q, k, v, beta = (x[n][:, None] for n in ("q", "k", "v", "beta"))
        options = {"initial_state": x["state"], "output_final_state": True}
        if by == "vector":
            return fused_recurrent_kda(q, k, v, x["a"][:, None], beta, **options)[0]
        if by == "scalar":
            return fla.fused_recurrent_gated_delta_rule(q, k, v, g=x["a"][:, None], beta=beta, **options)[0]
        return fla.fused_recurrent_delta_rule(q, k, v, beta, **options)[0]

    gates = 2 + {None: 0, "scalar": 4, "vector": 4 * keys}[by]
    io = heads * (2 * (2 * keys + 2 * values) + gates)
    core = heads * (6 * keys * values + CHUNK * (2 * keys + 2 * values) + CHUNK**2 / 3)
    both = Work(3.5 * core, io + heads * (2 * (4 * keys + 3 * values) + 2 * gates))
    step = Work(8.0 * heads * keys * values, heads * 8 * keys * values + io)
    return [
        Case(name, model, "forward", draw, ours, peer, None, lambda _: Work(core, io)),
        Case(name, model, "both", draw, ours, peer, None, lambda _: both),
        Case(name, model, "decode", draw_step, ours_step, peer_step, None, lambda _: step),
    ]


def scan(model: str, width: int) -> list[Case]:
    """The gated scan."""
    from fla.ops.hgrn import fused_recurrent_hgrn

    def draw(batch: int, *length: int) -> Inputs:
        return {"x": random(batch, *length, width), "a": decay(batch, *length, width, rate=0.3).to(DTYPE)}

    def draw_step(batch: int, _: int) -> Inputs:
        return draw(batch) | {"state": torch.randn(batch, width, device=DEVICE)}

    def peer_step(x: Inputs) -> Tensor:
        options = {"initial_state": x["state"], "output_final_state": True}
        return fused_recurrent_hgrn(x["x"][:, None], x["a"][:, None], **options)[0]

    name = "gated scan"
    ours, peer = lambda x: kernels.gated_scan(x["x"], x["a"])[0], lambda x: fused_recurrent_hgrn(x["x"], x["a"])[0]
    ours_step = lambda x: kernels.gated_scan_step(x["x"], x["a"], x["state"])[0]  # noqa: E731
    return [
        Case(name, model, "forward", draw, ours, peer, None, lambda _: Work(3.0 * width, 6.0 * width)),
        Case(name, model, "both", draw, ours, peer, None, lambda _: Work(8.0 * width, 16.0 * width)),
        Case(name, model, "decode", draw_step, ours_step, peer_step, None, lambda _: Work(3.0 * width, 14.0 * width)),
    ]


def modes(model: str, width: int, count: int) -> list[Case]:
    """Sums of complex modes, against the chunked form."""

    def draw(batch: int, length: int) -> Inputs:
        # Parameters have a dimension in front, in place of sequences.
        parameters = {name: random(1, width, count, *size) for name, size in (("w", ()), ("angle", ()), ("r", (2,)))}
        return {"x": random(batch, length, width), "a": decay(1, width, count, rate=0.3).to(DTYPE), **parameters}

    def given(x: Inputs) -> tuple[Tensor, ...]:
        return x["x"], *(x[name][0] for name in ("w", "a", "angle", "r"))

    form = import_module("kernels.complex_scan").IMPLEMENTATIONS["chunked"]
    name, ours = "Megalodon: sums of complex modes", lambda x: kernels.complex_scan(*given(x))[0]
    plain = lambda x: form(*given(x), None)[0]  # noqa: E731
    flops, read = (16 + 8.5 * count) * width, 10.0 * count * width
    return [
        Case(name, model, "forward", draw, ours, None, plain, lambda n: Work(flops, 4 * width + read / n)),
        Case(name, model, "both", draw, ours, None, plain, lambda n: Work(3 * flops, 10 * width + 3 * read / n)),
    ]


def convolution(model: str, width: int, taps: int) -> list[Case]:
    """The long convolution, with filters of 16 channels each."""

    def draw(batch: int, length: int) -> Inputs:
        # Filters have a dimension in front, in place of sequences.
        return {"x": random(batch, length, width), "h": random(1, width // 16, taps)}

    def plain(x: Inputs) -> Tensor:
        weight = x["h"][0].flip(1).repeat_interleave(16, 0)[:, None]
        return conv1d(pad(x["x"].mT, (taps - 1, 0)), weight, groups=width).mT

    name, ours = "Hyena MR: long convolution", lambda x: kernels.long_convolution(x["x"], x["h"][0])[0]
    flops, read = 2.0 * taps * width, 2.0 * taps * width / 16
    return [
        Case(name, model, "forward", draw, ours, None, plain, lambda n: Work(flops, 4 * width + read / n)),
        Case(name, model, "both", draw, ours, None, plain, lambda n: Work(3 * flops, 10 * width + 3 * read / n)),
    ]


def attention(model: str, heads: int, size: int, window: int | None) -> list[Case]:
    """Softmax attention, full or within a window."""
    from fla.ops.attn import parallel_attn

    def draw(batch: int, length: int) -> Inputs:
        return {n: random(batch, length, heads, size) for n in "qkv"}

    def draw_step(batch: int, length: int) -> Inputs:
        token, cached = ((batch, heads, size), (batch, length, heads, size))
        return {n: random(*token) for n in "qkv"} | {"keys": random(*cached), "values": random(*cached)}

    def ours(x: Inputs) -> Tensor:
        return kernels.softmax_attention(x["q"], x["k"], x["v"], window=window)[0]

    def ours_step(x: Inputs) -> Tensor:
        state = (x["keys"], x["values"])
        return kernels.softmax_attention_step(x["q"], x["k"], x["v"], state, window=window)[0]

    def peer(x: Inputs) -> Tensor:
        return parallel_attn(x["q"], x["k"], x["v"], window_size=window)

    def plain(x: Inputs) -> Tensor:
        q, k, v = (x[n].transpose(1, 2) for n in "qkv")
        if window is None:
            return scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return flex(q, k, v, window).transpose(1, 2)

    def plain_step(x: Inputs) -> Tensor:
        keys, values = (torch.cat([x[n], x[m][:, None]], 1) for n, m in (("keys", "k"), ("values", "v")))
        keys, values = (y[:, -window:] if window else y for y in (keys, values))
        return scaled_dot_product_attention(x["q"][:, :, None], keys.transpose(1, 2), values.transpose(1, 2))[:, :, 0]

    def step(length: int) -> Work:
        reach = length if window is None else min(window, length)
        return Work(4.0 * heads * size * reach, heads * size * (4 * reach + 12))

    name = "attention" if window is None else f"attention, window {window}"
    io = 8.0 * heads * size
    return [
        Case(name, model, "forward", draw, ours, peer, plain, lambda n: Work(io / 2 * seen(n, window), io)),
        Case(name, model, "both", draw, ours, peer, plain, lambda n: Work(1.75 * io * seen(n, window), 3 * io)),
        Case(name, model, "decode", draw_step, ours_step, None, plain_step, step),
    ]


def seen(length: int, window: int | None) -> float:
    """Mean tokens that a token sees."""
    reach = length if window is None else min(window, length)
    return reach - reach * (reach - 1) / 2 / length


def masked(model: str, heads: int, size: int, window: int) -> list[Case]:
    """Attention under a mask, against the form that makes all scores."""

    def draw(batch: int, length: int) -> Inputs:
        return {n: random(batch, length, heads, size) for n in "qkv"}

    def mask(x: Inputs) -> Tensor:
        place = torch.arange(x["q"].shape[1], device=x["q"].device)
        age = place[:, None] - place
        return (age >= 0) & (age < window)

    def ours(x: Inputs) -> Tensor:
        return kernels.masked_attention(x["q"], x["k"], x["v"], mask(x))

    def plain(x: Inputs) -> Tensor:
        every = mask(x).expand(x["q"].shape[0], heads, -1, -1)
        return form(x["q"], x["k"], x["v"], every, None, size**-0.5)[0]

    form = import_module("kernels.masked_attention").IMPLEMENTATIONS["chunked"]
    name, io = f"attention under a mask, window {window}", 8.0 * heads * size
    return [
        Case(name, model, "forward", draw, ours, None, plain, lambda n: Work(io / 2 * seen(n, window), io)),
        Case(name, model, "both", draw, ours, None, plain, lambda n: Work(1.75 * io * seen(n, window), 3 * io)),
    ]


def flex(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """torch's compiled flex attention within a window."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    length = q.shape[2]
    if length not in MASKS:
        see = lambda b, h, i, j: (i >= j) & (i - j < window)  # noqa: E731
        MASKS[length] = create_block_mask(see, None, None, length, length, device="cuda")
        MASKS.setdefault("function", torch.compile(flex_attention, dynamic=False))
    return MASKS["function"](q, k, v, block_mask=MASKS[length])


MASKS: dict = {}


def cases() -> list[Case]:
    """All of them, at the sizes that the mixers have in models of 340M (width 1024) and 1.3B (width 2048)."""
    found = []
    for model, width in (("1.3B", 2048), ("340M", 1024)):
        found += linear("GLA: linear attention, vector decay", model, 4, width // 8, width // 4, "vector", 0.05)
        found += linear("HGRN2: linear attention, vector decay", model, width // 128, 128, 128, "vector", 0.3)
        found += linear("linear attention, scalar decay", model, width // 128, 128, 128, "scalar", 0.05)
        found += linear("RetNet: linear attention, fixed decay", model, 8, width // 8, width // 4, "fixed", 0)
        found += delta("DeltaNet: delta rule", model, width // 128, 128, 128, None)
        found += delta("Gated DeltaNet: delta rule with decay", model, width // 256, 256, 256, "scalar")
        found += delta("KDA: delta rule, vector decay", model, width // 128, 128, 128, "vector")
        found += scan(model, width)
        found += modes(model, width, 16)
        found += convolution(model, width, 128)
        found += attention(model, width // 64, 64, WINDOW)
        found += attention(model, width // 64, 64, None)
        found += masked(model, width // 64, 64, WINDOW)
    return found


def milliseconds(function: Callable[[Inputs], Tensor], inputs: Inputs, backward: bool) -> float:
    """Median time, the cache emptied before each."""
    from triton.testing import do_bench

    if not backward:
        with torch.no_grad():
            return do_bench(lambda: function(inputs), return_mode="median")
    leaves = {name: x.detach().requires_grad_() for name, x in inputs.items()}
    gradient = torch.randn_like(function(leaves))
    wanted = list(leaves.values())
    return do_bench(lambda: torch.autograd.grad(function(leaves), wanted, gradient), return_mode="median")


def error(function: Callable[[Inputs], Tensor], case: Case, inputs: Inputs) -> float:
    """Largest of the relative errors (root mean square) of the output and, if wanted, of all gradients."""

    def outcome(run: Callable[[Inputs], Tensor], dtype: torch.dtype | None) -> list[Tensor]:
        leaves = {n: x.detach().to(dtype or x.dtype).requires_grad_(case.kind == "both") for n, x in inputs.items()}
        o = run(leaves)
        if case.kind != "both":
            return [o]
        weights = torch.randn(o.shape, generator=torch.Generator(DEVICE).manual_seed(1), device=DEVICE).to(o.dtype)
        return [o, *torch.autograd.grad(o, list(leaves.values()), weights)]

    exact = outcome(case.ours, torch.float64)  # float64 runs in plain torch, which the tests compare with a naive loop
    found = outcome(function, None)
    pairs = zip(found, exact, strict=True)
    return max(float((a.double().reshape(b.shape) - b).norm() / b.norm()) for a, b in pairs)


def ceilings() -> tuple[float, float]:
    """Measured FLOP/s of a large bf16 product, and bytes/s of a large copy."""
    from triton.testing import do_bench

    a, b = random(8192, 8192), random(8192, 8192)
    flops = 2 * 8192**3 / (1e-3 * do_bench(lambda: a @ b, return_mode="median"))
    x = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    return flops, 2 * 2**30 / (1e-3 * do_bench(lambda: y.copy_(x), return_mode="median"))


def measure(case: Case, length: int) -> dict:
    """One row."""
    batch = max(1, TOKENS // length) if case.kind != "decode" else DECODED
    if case.kind == "decode" and case.name.startswith("attention"):
        batch = max(1, 8 * TOKENS // length)
    torch.manual_seed(0)
    row = {"name": case.name, "model": case.model, "kind": case.kind, "batch": batch, "length": length}
    for who in ("ours", "peer", "plain"):
        function = getattr(case, who)
        if function is None:
            continue
        try:
            inputs = case.draw(batch, length)
            row[who] = milliseconds(function, inputs, case.kind == "both")
            few = {n: x[:1, :2048] if case.kind != "decode" else x[:1] for n, x in inputs.items()}
            row[f"{who}_error"] = error(function, case, few)
        except Exception as problem:  # a peer that fails is a result, too
            row.pop(who, None)
            row[f"{who}_failed"] = f"{type(problem).__name__}: {str(problem)[:200]}"
        torch.cuda.empty_cache()
    return row


def table(rows: list[dict], about: dict) -> str:
    """Markdown."""
    lines = [
        "# Kernels on a GPU: ours, flash-linear-attention's and torch's",
        "",
        f"{about['device']}; torch {about['torch']}, triton {about['triton']}, fla {about['fla']}; commit "
        f"{about['commit']}; `{about['command']}`.",
        "",
        f"bf16, median milliseconds. Measured ceilings: {about['flops'] / 1e12:.0f} TFLOP/s (product of 8192 x 8192), "
        f'{about["bandwidth"] / 1e12:.2f} TB/s (copy). "Of the roofline": least time by these ceilings, with every '
        "input and output moved once, as a share of ours. Error: relative to float64, the largest of output and "
        "gradients, on one sequence of at most 2048 tokens.",
        "",
        "| operator | model | pass | B x T | ours | fla | fla / ours | torch | torch / ours | bound | of the roofline "
        "| error, ours | fla |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    known = {(c.name, c.model, c.kind): c for c in cases()}

    def cell(row: dict, who: str, form: str = "{:.3f}") -> str:
        return form.format(row[who]) if who in row else "failed" if f"{who}_failed" in row else "-"

    for row in rows:
        work = known[row["name"], row["model"], row["kind"]].work(row["length"])
        count = row["batch"] * (1 if row["kind"] == "decode" else row["length"])
        least = work.milliseconds(count, about["flops"], about["bandwidth"])
        compute = work.flops / about["flops"] > work.traffic / about["bandwidth"]
        ratios = [f"{row[w] / row['ours']:.2f}" if w in row and "ours" in row else "-" for w in ("peer", "plain")]
        share = f"{least / row['ours']:.0%}" if "ours" in row else "-"
        lines.append(
            f"| {row['name']} | {row['model']} | {row['kind']} | {row['batch']} x {row['length']} "
            f"| {cell(row, 'ours')} | {cell(row, 'peer')} | {ratios[0]} | {cell(row, 'plain')} | {ratios[1]} "
            f"| {'compute' if compute else 'memory'} | {share} | {cell(row, 'ours_error', '{:.1e}')} "
            f"| {cell(row, 'peer_error', '{:.1e}')} |"
        )
    failures = [(r, w) for r in rows for w in ("ours", "peer", "plain") if f"{w}_failed" in r]
    if failures:
        lines += ["", "Failed:", ""]
        lines += [f"- {r['name']}, {r['kind']}, T {r['length']}, {w}: {r[f'{w}_failed']}" for r, w in failures]
    return "\n".join(lines) + "\n"


def unpack(folder: Path) -> None:
    """Puts the wheels in `folder` on the path; unpacked, because Triton reads its kernels' source files."""
    where = tempfile.mkdtemp()
    for wheel in sorted(folder.glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(where)
    sys.path.append(where)


def main() -> None:
    """Measures what is missing and writes the table after every row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="regular expression on 'operator, model, pass, T'")
    parser.add_argument("--wheels", type=Path, help="folder with wheels of fla-core and einops")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if options.wheels:
        unpack(options.wheels)
    if not torch.cuda.is_available():
        sys.exit(
            "no GPU: this benchmark measures on one. `python -m tests.benchmarks.kernels.roofline` says what to expect."
        )
    import fla
    import triton

    device = torch.cuda.get_device_name()
    path = options.out / f"kernels_{re.sub('[^a-z0-9]+', '_', device.lower())}.json"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    kept = json.loads(path.read_text()) if path.exists() else {"rows": []}
    flops, bandwidth = ceilings()
    about = {
        "device": device, "torch": torch.__version__, "triton": triton.__version__, "fla": fla.__version__,
        "python": platform.python_version(), "commit": commit or os.environ.get("COMMIT", "unknown"),
        "command": "python -m " + " ".join(["tests.benchmarks.kernels.gpu", *sys.argv[1:]]),
        "flops": flops, "bandwidth": bandwidth,
    }  # fmt: skip
    rows = {(r["name"], r["model"], r["kind"], r["length"]): r for r in kept["rows"]}
    for case in cases():
        cached = case.kind != "decode" or case.name.startswith("attention")
        for length in LENGTHS if cached else (1,):
            if not re.search(options.only, f"{case.name}, {case.model}, {case.kind}, {length}"):
                continue
            row = measure(case, length)
            rows[case.name, case.model, case.kind, length] = row
            ratio = row["peer"] / row["ours"] if "peer" in row and "ours" in row else math.nan
            print(f"{case.name}, {case.model}, {case.kind}, T {length}: {row.get('ours')} ms, {ratio:.2f}", flush=True)
            path.write_text(json.dumps({"about": about, "rows": list(rows.values())}, indent=1) + "\n")
            path.with_suffix(".md").write_text(table(list(rows.values()), about))


if __name__ == "__main__":
    main()
