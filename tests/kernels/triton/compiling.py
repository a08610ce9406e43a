"""Compiles every kernel for GPUs without having one: does it fit, and how many registers does it take?

The public operators run on CPU tensors with launches replaced: each is written down as Triton would have specialised
it (types, alignment, constants), once for every configuration that the tuner would try, and then compiled for a GPU
generation. The results of such a run are rubbish, but its launches are those of a GPU.

    python -m tests.kernels.triton.compiling          # checks the training shapes and prints a table
    python -m tests.kernels.triton.compiling --write  # all shapes; writes tests/benchmarks/results/compiled_kernels.md

TRITON_INTERPRET must not be set.

Shapes are those of the 1.3B models of 2507.06457, in bfloat16.
"""

import argparse
import datetime
import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction, create_function_from_signature

import kernels

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "compiled_kernels.md"
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
SHARED = {90: 227 * 1024, 80: 163 * 1024}
"""Bytes of shared memory that a program can have, by compute capability."""
PROCESSES = 2

Outputs = Tensor | tuple[Tensor, ...]


@dataclass
class Case:
    """A call of an operator.

    Args:
        operator: folder in kernels.
        name: what the table shows.
        call: of the leaves.
        leaves: tensors that may have gradients.
        training: whether backward runs too.
        quick: whether the test compiles it, or only `--write`.
        continued: whether there is a state before the first token, and a gradient of the last one.
    """

    operator: str
    name: str
    call: Callable[..., Any]
    leaves: list[Tensor]
    training: bool = True
    quick: bool = True
    continued: bool = False

    def run(self) -> None:
        """Forward; backward from the first output, or from all if there is a state before the first token."""
        if not self.training:
            with torch.no_grad():
                self.call(*self.leaves)
            return
        outputs = self.call(*(x.requires_grad_() for x in self.leaves))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        outputs = outputs[: None if self.continued else 1]
        torch.autograd.backward(outputs, [torch.empty(o.shape, dtype=o.dtype) for o in outputs])


@dataclass
class Launch:
    """The `number`-th launch of a case in one configuration, and what compiling it gave."""

    case: str
    function: Any
    signature: dict[str, str]
    constants: dict[tuple, Any]
    attributes: dict[tuple, Any]
    options: dict[str, Any]
    capability: int
    number: int
    config: str
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def kernel(self) -> str:
        """Name of the function; where it has several roles, a GPU trace shows the role too."""
        return self.function.__name__

    @property
    def key(self) -> str:
        """The same for launches that compile to the same."""
        parts = (self.signature, self.constants, self.attributes, self.options, self.capability)
        return f"{self.kernel} {' '.join(map(str, parts))}"

    @property
    def group(self) -> tuple[str, int, int]:
        """The same for all configurations of a launch, and for them alone."""
        return self.case, self.number, self.capability

    @property
    def fits(self) -> bool:
        """Whether a GPU can run it."""
        return "error" not in self.found and self.found["shared"] <= SHARED[self.capability]


def bf16(*shape: int) -> Tensor:
    """Some tensor; nothing is computed with it."""
    return torch.zeros(*shape, dtype=torch.bfloat16)


def matrix(
    operator: str, name: str, heads: int, keys: int, values: int, gates: list[Tensor], *, batch: int, length: int,
    quick: bool = True,
) -> Case:  # fmt: skip
    """Whole sequences of a recurrence with a state [K, V], its q, k, v being slices of one projection.

    Few sequences come with a state before them.
    """
    sizes = [heads * keys, heads * keys, heads * values]
    continued = batch == 1

    def call(features: Tensor, *rest: Tensor) -> Any:
        q, k, v = (x.unflatten(-1, (heads, -1)) for x in features.split(sizes, -1))
        state = rest[-1] if continued else None
        return getattr(kernels, operator)(q, k, v, *rest[: len(gates)], initial_state=state)

    leaves = [bf16(batch, length, sum(sizes)), *gates]
    if continued:
        leaves.append(torch.zeros(batch, heads, keys, values))
    return Case(operator, f"{name} [{batch}, {length}]", call, leaves, quick=quick, continued=continued)


def matrix_step(operator: str, name: str, heads: int, keys: int, values: int, gates: list[Tensor | None]) -> Case:
    """A token of such a recurrence."""
    q, k, v = bf16(8, heads, keys), bf16(8, heads, keys), bf16(8, heads, values)
    state = torch.zeros(8, heads, keys, values)
    step = getattr(kernels, f"{operator}_step")
    return Case(operator, f"{name}, step", lambda: step(q, k, v, *gates, state), [], training=False, quick=False)


def cases() -> Iterator[Case]:
    """Calls as the mixers of the 1.3B models make them.

    Few sequences are cut into segments, for lack of programs, and have a state before them: other code, of which the
    test compiles one shape of each operator too.
    """
    for batch, length in ((32, 256), (1, 2048)):
        size = {"batch": batch, "length": length}
        tokens, many = (batch, length), batch > 1
        vector = bf16(*tokens, 4, 256)
        yield matrix("linear_attention", "GLA", 4, 256, 512, [vector], quick=many, **size)
        yield matrix("linear_attention", "HGRN2", 16, 128, 128, [bf16(*tokens, 16, 128)], quick=False, **size)
        yield matrix("linear_attention", "RetNet", 8, 256, 512, [torch.zeros(8)], **size)
        yield matrix("delta_rule", "DeltaNet", 16, 128, 128, [bf16(*tokens, 16)], quick=False, **size)
        for heads in (8, 4):
            gates = [bf16(*tokens, heads), torch.zeros(*tokens, heads)]
            yield matrix(
                "delta_rule", f"Gated DeltaNet, {heads} heads", heads, 256, 256, gates, quick=heads == 4, **size
            )
        gates = [bf16(*tokens, 16), torch.zeros(*tokens, 16, 128)]
        yield matrix("delta_rule", "KDA", 16, 128, 128, gates, **size)
        gates = [bf16(*tokens, 2048), bf16(*tokens, 2048)]
        if many:
            yield Case("gated_scan", f"HGRN [{batch}, {length}]", kernels.gated_scan, gates)
    yield Case(
        "gated_scan", "HGRN [1, 2048]", lambda x, a, s: kernels.gated_scan(x, a, initial_state=s),
        [*gates, torch.zeros(1, 2048)], continued=True,
    )  # fmt: skip

    unit, state = bf16(1, 128, 16, 128), torch.zeros(1, 16, 128, 128)
    yield Case(
        "dplr", "RWKV-7 [1, 128]", lambda q, s: kernels.dplr(*(q,) * 6, initial_state=s), [unit, state], continued=True
    )  # fmt: skip

    yield matrix_step("linear_attention", "GLA", 4, 256, 512, [bf16(8, 4, 256)])
    yield matrix_step("linear_attention", "RetNet", 8, 256, 512, [torch.zeros(8)])
    yield matrix_step("delta_rule", "DeltaNet", 16, 128, 128, [bf16(8, 16), None])
    yield matrix_step("delta_rule", "Gated DeltaNet", 4, 256, 256, [bf16(8, 4), torch.zeros(8, 4)])
    yield matrix_step("delta_rule", "KDA", 16, 128, 128, [bf16(8, 16), torch.zeros(8, 16, 128)])
    x = bf16(8, 2048)
    yield Case("gated_scan", "HGRN, step", lambda: kernels.gated_scan_step(x, x, x.float()), [], training=False)
    x, modes = bf16(8, 1024, 2048), [*torch.zeros(3, 2048, 16).unbind(0), torch.zeros(2048, 16, 2)]
    yield Case("complex_scan", "Megalodon, 16 modes", kernels.complex_scan, [x, *modes])
    state = torch.zeros(8, 2048, 16, 2)
    yield Case(
        "complex_scan", "Megalodon, 16 modes, step", lambda: kernels.complex_scan_step(x[:, 0], *modes, state), [],
        training=False,
    )  # fmt: skip
    yield from convolution_cases()
    yield from attention_cases()
    yield from masked_cases()
    yield from elementwise_cases()


def convolution_cases() -> Iterator[Case]:
    """Convolutions with long filters, from the first token and after a past."""
    x, filters, past = bf16(8, 1024, 2048), torch.zeros(128, 128), bf16(8, 127, 2048)
    name = "Hyena MR, 128 taps of 128 groups"
    yield Case("long_convolution", name, kernels.long_convolution, [x, filters])
    yield Case(
        "long_convolution", f"{name}, with a past",
        lambda x, h, s: kernels.long_convolution(x, h, initial_state=s), [x, filters, past], continued=True,
    )  # fmt: skip


def attention_cases() -> Iterator[Case]:
    """Softmax attention in a window or after cached tokens, and decoding; the rest is torch's."""
    for window, groups, quick in ((512, 32, True), (None, 32, True), (None, 8, False)):
        name = f"{'all tokens' if window is None else f'window {window}'}, 32 heads, {groups} for keys"
        cached = bf16(8, 4096 if window is None else window, groups, 64)
        past = None if window else (cached, cached)

        def whole(features: Tensor, window: int | None = window, groups: int = groups, past: Any = past) -> Any:
            q, k, v = (x.unflatten(-1, (-1, 64)) for x in features.split([2048, groups * 64, groups * 64], -1))
            return kernels.softmax_attention(q, k, v, window=window, initial_state=past)

        def step(q: Tensor, k: Tensor, cache: Tensor, window: int | None = window) -> Any:
            return kernels.softmax_attention_step(q, k, k, (cache, cache), window=window)

        features = bf16(8, 1024, 2048 + 2 * groups * 64)
        yield Case("softmax_attention", name, whole, [features], quick=quick)
        inputs = [bf16(8, 32, 64), bf16(8, groups, 64), cached]
        yield Case("softmax_attention", f"{name}, step", step, inputs, training=False, quick=quick)


def masked_cases() -> Iterator[Case]:
    """Attention under masks, with gates and without, for one mask of all heads and for one of each."""
    q, k = bf16(8, 1024, 32, 64), bf16(8, 1024, 8, 64)
    seen = torch.ones(1024, 1024, dtype=torch.bool)
    yield Case(
        "masked_attention", "32 heads, 8 for keys", lambda q, k, v: kernels.masked_attention(q, k, v, seen), [q, k, k],
    )  # fmt: skip
    yield Case(
        "masked_attention", "32 heads, 8 for keys, sums",
        lambda q, k, v: kernels.masked_attention_with_total(q, k, v, seen), [q, k, k], continued=True, quick=False,
    )  # fmt: skip
    gates = bf16(8, 32, 1024, 1024)
    yield Case(
        "masked_attention", "32 heads, 8 for keys, gates",
        lambda q, k, v, g: kernels.masked_attention(q, k, v, gates > 0, gates=g), [q, k, k, gates],
    )  # fmt: skip
    wide = bf16(8, 1024, 8, 256)
    yield Case(
        "masked_attention", "8 heads of 256", lambda q, k, v: kernels.masked_attention(q, k, v, seen), [wide] * 3,
        quick=False,
    )  # fmt: skip


def elementwise_cases() -> Iterator[Case]:
    """The operators around the mixers."""
    wide, past, taps = bf16(4, 512, 8192), bf16(4, 3, 4096), torch.zeros(4096, 4)
    slices = [wide, taps]
    yield Case(
        "short_convolution", "4096 channels, width 4, SiLU",
        lambda x, w: kernels.short_convolution(x[..., :4096], w, activation=True), slices,
    )  # fmt: skip
    yield Case(
        "short_convolution", "4096 channels, width 4, SiLU, bias",
        lambda x, w, b: kernels.short_convolution(x[..., :4096], w, bias=b, activation=True),
        [*slices, torch.zeros(4096)],
    )  # fmt: skip
    yield Case(
        "short_convolution", "4096 channels, width 4",
        lambda x, w: kernels.short_convolution(x[..., :4096], w), slices, quick=False,
    )  # fmt: skip
    yield Case(
        "short_convolution", "4096 channels, width 4, SiLU, with a past",
        lambda x, w, s: kernels.short_convolution(x[..., :4096], w, activation=True, initial_state=s), [*slices, past],
        quick=False,
    )  # fmt: skip
    yield Case(
        "short_convolution", "4096 channels, width 4, SiLU, step",
        lambda: kernels.short_convolution_step(wide[:, 0, :4096], taps, past, activation=True), [], training=False,
    )  # fmt: skip
    yield Case(
        "short_convolution", "4096 channels, width 4, SiLU, bias, step",
        lambda: kernels.short_convolution_step(wide[:, 0, :4096], taps, past, bias=taps[:, 0], activation=True), [],
        training=False,
    )  # fmt: skip
    x, gate = bf16(4, 512, 4, 512), bf16(4, 512, 4096)
    for name, data, size in (("2048", bf16(4, 512, 2048), 2048), ("heads of 512", x, 512)):
        yield Case("rms_norm", f"{name}", kernels.rms_norm, [data, torch.ones(size)])
    yield Case(
        "rms_norm", "heads of 512, gate",
        lambda x, w, g: kernels.rms_norm(x, w, g[..., 2048:].unflatten(-1, (4, 512))), [x, torch.ones(512), gate],
    )  # fmt: skip
    yield Case("rotary", "64 heads of 64", lambda x: kernels.rotary(x, 0, 1e4), [bf16(4, 512, 64, 64)])
    yield Case("swiglu", "5632", kernels.swiglu, [bf16(4, 512, 2 * 5632)])


def launches(case: Case, capability: int) -> list[Launch]:
    """The launches of a case, one for each configuration."""
    backend = make_backend(GPUTarget("cuda", capability, 32))
    made: list[Launch] = []
    numbers = itertools.count()

    def record(function: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> Launch:
        bind = create_function_from_signature(function.signature, function.params, backend)
        bound, specialization, _ = bind(*args, **kwargs)
        sizes = grid(bound) if callable(grid) else grid
        if min(sizes) < 1 or max(sizes[1:], default=1) > 65535:
            raise ValueError(f"{function.__name__} is launched with a grid of {sizes}")
        options, signature, constants, attributes = function._pack_args(backend, kwargs, bound, specialization, None)
        launch = Launch(
            case.name, function, signature, constants, attributes, options.__dict__, capability, next(numbers),
            f"{options.num_warps} warps, {options.num_stages} stages",
        )  # fmt: skip
        made.append(launch)
        return launch

    def record_tuned(tuner: Any, *args: Any, **kwargs: Any) -> None:
        number = next(numbers)
        for config in tuner.configs:
            launch = tuner.fn.run(*args, **kwargs, **config.all_kwargs())
            launch.number = number
            launch.config += "".join(f", {name} {value}" for name, value in config.kwargs.items())

    with patch.object(JITFunction, "run", record), patch.object(Autotuner, "run", record_tuned):
        case.run()
    return made


def compiled(launch: Launch) -> dict[str, Any]:
    """Shared memory, registers and spills in bytes, and whether it uses the matrix instructions of Hopper."""
    began = time.monotonic()
    source = ASTSource(launch.function, launch.signature, constexprs=launch.constants, attrs=launch.attributes)
    try:
        kernel = triton.compile(source, target=GPUTarget("cuda", launch.capability, 32), options=launch.options)
    except Exception:
        return {"error": traceback.format_exc(limit=0)}
    ptx = kernel.asm["ptx"]
    return {
        "name": kernel.metadata.name,
        "shared": kernel.metadata.shared,
        **registers(kernel.asm["cubin"], ptx),
        "wgmma": "wgmma.mma_async" in ptx,
        "mma": "mma.sync" in ptx,
        "seconds": time.monotonic() - began,
    }


def registers(binary: bytes, ptx: str) -> dict[str, int]:
    """Registers a thread, and bytes of spills (stores and loads together), of a compiled kernel."""
    with tempfile.TemporaryDirectory() as folder:
        cubin, source = Path(folder) / "kernel.cubin", Path(folder) / "kernel.ptx"
        cubin.write_bytes(binary)
        usage = subprocess.check_output([TOOLS / "cuobjdump", "--dump-resource-usage", cubin], text=True)
        [(count, stack)] = re.findall(r"REG:(\d+) STACK:(\d+)", usage)
        spilled = 0
        if int(stack):  # which sine and cosine use without spilling
            source.write_text(ptx)
            [target] = re.findall(r"^\.target (\w+)", ptx, re.MULTILINE)
            command = ["-v", f"--gpu-name={target}", source, "-o", cubin]
            for tool in sorted(TOOLS.glob("ptxas*")):  # triton 3.9 writes for the newer of two
                run = subprocess.run([tool, *command], capture_output=True, text=True)
                if run.returncode == 0:
                    break
            run.check_returncode()
            log = run.stderr
            spilled = sum(map(int, re.findall(r"(\d+) bytes spill", log)))
    return {"registers": int(count), "spills": spilled}


def compile_all(wanted: list[Launch]) -> None:
    """Fills in `found`, compiling what is the same only once."""
    different = {launch.key: launch for launch in wanted}
    jobs = list(different.values())
    # Forked, since kernels cannot be pickled.
    global _jobs
    _jobs = jobs
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for launch, found in zip(jobs, pool.imap(_compile_job, range(len(jobs)), chunksize=1), strict=True):
            launch.found = found
            print(f"{launch.kernel} ({launch.case}, sm_{launch.capability}, {launch.config}): {found}", file=sys.stderr)
    for launch in wanted:
        launch.found = different[launch.key].found


_jobs: list[Launch] = []


def _compile_job(index: int) -> dict[str, Any]:
    return compiled(_jobs[index])


def by_launch(done: list[Launch]) -> list[list[Launch]]:
    """The configurations of each launch."""
    groups: dict[tuple, list[Launch]] = {}
    for launch in done:
        groups.setdefault(launch.group, []).append(launch)
    return list(groups.values())


def problems(done: list[Launch]) -> Iterator[str]:
    """What is wrong with compiled launches.

    The tuner leaves out configurations that do not fit: one that does is enough.
    """
    for group in by_launch(done):
        launch = group[0]
        where = f"{launch.kernel} ({launch.case}, sm_{launch.capability})"
        errors = [f"{launch.config}: {launch.found['error']}" for launch in group if "error" in launch.found]
        if errors:
            yield f"{where} does not compile in {len(errors)} of {len(group)} configurations: {errors[0]}"
        elif not any(launch.fits for launch in group):
            sizes = ", ".join(f"{launch.found['shared']:,}" for launch in group)
            limit = SHARED[launch.capability]
            yield f"{where}: {sizes} bytes of shared memory in its configurations, {limit:,} at most"
        operator = launch.function.module.split(".")[1]
        for name in {launch.found["name"] for launch in group if "name" in launch.found}:
            if not re.fullmatch(rf"{operator}_(fwd|bwd|step)(_[a-z]+)*_kernel", name):
                yield f"{where}: a GPU trace shows it as {name}"


def table(done: list[Launch], command: str) -> str:
    """Markdown."""
    lines = [
        "# Kernels, compiled",
        "",
        f"Made by `{command}` on {datetime.date.today()} without a GPU; triton {triton.__version__}, "
        f"torch {torch.__version__}, bfloat16. Spills are bytes stored and loaded a thread; shared memory is in bytes "
        f"a program, {SHARED[90]:,} at most on sm_90 and {SHARED[80]:,} on sm_80.",
        "",
        "| kernel | shape | GPU | configuration | registers | spills | shared memory | matrix instructions |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = {}
    for launch in done:
        found = launch.found
        if "error" not in found:
            matrix = "wgmma" if found["wgmma"] else "mma" if found["mma"] else ""
            numbers = f"{found['registers']} | {found['spills']} | {found['shared']:,}"
            where = f"{launch.kernel} | {launch.case} | sm_{launch.capability} | {launch.config}"
            rows[f"| {where} | {numbers} | {matrix} |"] = None
    return "\n".join([*lines, *rows]) + "\n"


def main() -> int:
    """Compiles and checks; the exit status is 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="all shapes; writes the table")
    parser.add_argument("--fast", action="store_true", help="for sm_90 alone, and no more configurations than it takes")
    parser.add_argument("--only", default="", help="operators, separated by commas")
    options = parser.parse_args()
    if os.environ.get("TRITON_INTERPRET"):
        parser.error("TRITON_INTERPRET is set")
    os.environ["KERNELS_BACKEND"] = "triton"

    began = time.monotonic()
    wanted: list[Launch] = []
    for case in cases():
        if (options.only and case.operator not in options.only.split(",")) or not (options.write or case.quick):
            continue
        for capability in (90,) if options.fast else SHARED:
            made = launches(case, capability)
            if not made:
                raise RuntimeError(f"{case.operator}, {case.name}: no kernel was launched")
            wanted += made
    if not options.write:
        # On older GPUs the first configuration, and the others of a launch only where that does not fit.
        whole = 0 if options.fast else 90
        short = [group for group in by_launch(wanted) if group[0].capability != whole]
        wanted = [launch for launch in wanted if launch.capability == whole] + [group[0] for group in short]
        compile_all(wanted)
        rest = [launch for group in short if not group[0].fits for launch in group[1:]]
        compile_all(rest)
        wanted += rest
    else:
        compile_all(wanted)
    print(table(wanted, f"python -m {__spec__.name}{' --write' if options.write else ''}"))
    if options.write and not options.only:
        TABLE.write_text(table(wanted, f"python -m {__spec__.name} --write"))
    wrong = list(dict.fromkeys(problems(wanted)))
    print(f"{len({launch.key for launch in wanted})} compiled in {time.monotonic() - began:.0f} s")
    print("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
