"""What operators have to do at least, and what our kernels do by design, in FLOPs, bytes and time on an H100.

Run as `python -m tests.benchmarks.kernels.roofline`; needs no GPU, measures nothing, writes
tests/benchmarks/results/kernels_roofline.md.
"""

from collections.abc import Iterator

from tests.benchmarks.kernels.gpu import CHUNK, DECODED, RESULTS, TOKENS, WINDOW, Work, cases

FLOPS, BANDWIDTH = 989e12, 3.35e12
"""An H100 SXM by its datasheet."""
ANCHOR = 512
"""Tokens between the states that linear attention keeps for the gradient of its decay."""


def linear(heads: int, keys: int, values: int, decay: float, learned: bool) -> Iterator[tuple[str, Work]]:
    """`decay`: bytes of log decays for a token and head; `learned`: whether it needs a gradient."""

    def flops(inner: int, size: int) -> float:
        """Every program, of as many columns as its registers hold, computes the scores of a chunk."""
        programs = size / (32 if inner > 256 else 64)
        return heads * (4 * inner * size + 2 * CHUNK * (size + inner * programs))

    bytes_ = 4 * (keys + values) + decay
    kept = (2 * keys + 4 * keys + 2 * keys * values / ANCHOR) if learned else 0  # a weight, the products, the states
    yield "linear_attention_fwd_kernel", Work(flops(keys, values), heads * bytes_)
    yield "linear_attention_bwd_dv_kernel", Work(flops(keys, values), heads * bytes_)
    yield "linear_attention_bwd_dq_kernel", Work(flops(values, keys), heads * (bytes_ + kept))
    kept += decay if learned else 0  # the gradient itself
    yield "linear_attention_bwd_dk_kernel", Work(flops(values, keys), heads * (bytes_ + kept))
    yield "linear_attention_step_kernel", Work(6 * heads * keys * values, heads * (8 * keys * values + bytes_))


def delta(heads: int, keys: int, values: int, by_key: bool) -> Iterator[tuple[str, Work]]:
    """As kernels/delta_rule/triton.py and triton_backward.py count them; `by_key`: the decay."""
    square, state = 2 * CHUNK, 2 * keys * values
    traffic = 4 * keys + 4 * CHUNK + (10 * keys + 4 * keys / CHUNK + 4 if by_key else 16)
    within = Work(heads * ((12 if by_key else 2) * square * keys + 4 * CHUNK**2), heads * traffic)
    side = 4 * CHUNK + (6 * keys + 4 if by_key else 4 * keys + 12)  # q, k, X, P and the gates
    forward = heads * (3 * state + 2 * square * values)
    yield "delta_rule_fwd_chunks_kernel", within
    yield "delta_rule_fwd_walk_kernel, training", Work(forward, heads * (side + 6 * values + 2 * keys * values / CHUNK))
    yield "delta_rule_bwd_walk_kernel", Work(forward, heads * (side + 4 * values + 2 * keys * values / CHUNK))
    gradients = heads * (3 * state + square * ((24 if by_key else 4) * keys + 2 * values))
    traffic = 8 * keys + 10 * values + 4 * keys * values / CHUNK + (8 * keys if by_key else 2 * CHUNK)
    yield "delta_rule_bwd_chunks_kernel", Work(gradients, heads * traffic)
    token = (8 if by_key else 4) * keys + 4 * values
    yield "delta_rule_step_kernel", Work(8 * heads * keys * values, heads * (8 * keys * values + token))


def kernels() -> Iterator[tuple[str, str, Work]]:
    """Operator, kernel and work a token (a step: a sequence) in a model of 1.3B."""
    width = 2048
    for name, sizes in {
        "GLA": (4, 256, 512, 512, True),
        "HGRN2": (16, 128, 128, 256, True),
        "RetNet": (8, 256, 512, 4, False),
    }.items():
        yield from ((name, kernel, work) for kernel, work in linear(*sizes))
    for name, sizes in {
        "DeltaNet": (16, 128, 128, False),
        "Gated DeltaNet": (8, 256, 256, False),
        "KDA": (16, 128, 128, True),
    }.items():
        yield from ((name, kernel, work) for kernel, work in delta(*sizes))
    for part, flops, size in (("fwd", 3, 6), ("bwd", 5, 10), ("step", 3, 14)):
        yield "gated scan", f"gated_scan_{part}_kernel", Work(flops * width, size * width)
    for part, flops, size in (  # 16 modes, chunks of 16
        ("fwd_kernel", 168, 4), ("fwd_kernel, states again", 72, 10), ("bwd_dx_kernel", 168, 12),
        ("bwd_tables_kernel", 168, 20),
    ):  # fmt: skip
        yield "Megalodon", f"complex_scan_{part}", Work(flops * width, size * width)
    for part in ("fwd", "bwd_dx", "bwd_filters"):  # 64 tokens with 192 before and among them
        yield "Hyena MR", f"long_convolution_{part}_kernel", Work(2 * 192 * width, 4 * width)
    for part, flops, size in (("fwd", 4, 8), ("bwd_dq", 6, 12), ("bwd_dkv", 8, 12)):
        work = Work(flops * WINDOW * width, size * width)
        yield f"attention, window {WINDOW}", f"softmax_attention_{part}_kernel", work
    hidden = 5632
    for name, operator, size, forward, backward in (
        ("short convolution", "short_convolution", 3 * width, 4, 6),
        ("gated RMS norm", "rms_norm", width, 6, 10),
        ("rotary", "rotary", 2 * width, 4, 4),
        ("SwiGLU", "swiglu", hidden, 6, 10),
    ):
        yield name, f"{operator}_fwd_kernel", Work(10 * size, forward * size)
        yield name, f"{operator}_bwd_kernel", Work(20 * size, backward * size)


def bound(work: Work) -> str:
    """What limits it."""
    return "compute" if work.flops / FLOPS > work.traffic / BANDWIDTH else "memory"


def row(*names: object, work: Work, count: int) -> str:
    """A line of a table."""
    cells = [*map(str, names), f"{work.flops:.3g}", f"{work.traffic:.3g}"]
    return f"| {' | '.join(cells)} | {work.milliseconds(count, FLOPS, BANDWIDTH):.4f} | {bound(work)} |"


def main() -> None:
    """Writes both tables."""
    lines = [
        "# What the kernels have to do, and what they do by design",
        "",
        "Made by `python -m tests.benchmarks.kernels.roofline`; nothing here was measured. bf16, states fp32. "
        f"Times: {TOKENS} tokens (decode: {DECODED} sequences; attention: {8 * TOKENS} cached tokens) on an H100 "
        "SXM by its datasheet (989 TFLOP/s, 3.35 TB/s), whichever of FLOPs and bytes takes longer.",
        "",
        "## Operators, at least",
        "",
        f"Bytes: every input and output moved once. FLOPs: the chunkwise form with chunks of {CHUNK}.",
        "",
        "| operator | model | pass | T | FLOPs a token | bytes a token | ms | bound |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in cases():
        attention = case.name.startswith("attention")
        for length in (2048, 8192) if attention else (8192,):
            count = TOKENS if case.kind != "decode" else 8 * TOKENS // length if attention else DECODED
            shown = length if attention or case.kind != "decode" else "-"
            lines.append(row(case.name, case.model, case.kind, shown, work=case.work(length), count=count))
    lines += [
        "",
        "## Our kernels, by design, in a model of 1.3B",
        "",
        "Bytes between chip and memory, where blocks that several programs read come from the second-level cache after "
        "the first. FLOPs as executed: whole squares within chunks.",
        "",
        "| operator | kernel | FLOPs a token | bytes a token | ms | bound |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, kernel, work in kernels():
        lines.append(row(name, kernel, work=work, count=DECODED if kernel.endswith("_step_kernel") else TOKENS))
    (RESULTS / "kernels_roofline.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
